/* heap.h - the heap of timers: a plain list, as asyncio's, ordered by (when, number).             Level 4: loop, handle.
 *
 * Comparing two timers of ours runs no Python; with others' timers in the list it may, so references are held and the
 * size is read anew after each comparison, as CPython's heapq does.
 *
 * Thread   the loop's own, with the GIL
 */
#ifndef AN_HEAP_H
#define AN_HEAP_H

#include "loop.h"

int an_heap_push(an_loop *rec, PyObject *timer); /* 0 | -1+exc */
PyObject *an_heap_pop(an_loop *rec);             /* new ref | NULL+exc */

#endif
