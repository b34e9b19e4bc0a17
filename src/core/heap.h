/* heap.h - the heap of timers: a plain list, as asyncio's, ordered by (when, number).             Level 4: loop, handle.
 *
 * Comparing two timers of ours, or of asyncio's, runs no Python. With others' timers in the list, or with times that are no
 * plain numbers, it may, and that may do anything: add and cancel timers, or nest, so that another stack carries the loop on
 * while the heap is half sorted. So references are held; a comparison says whether the list is another one after it; and
 * whoever wants to know the first timer puts the heap in order before (an_heap_settle): by the times alone, no timers compared.
 *
 * Invariants
 *   T1  order is AN_HEAP_SETTLED whenever the list is a heap as far as the engine knows, and something else whenever Python may
 *       run while it is none
 *   T2  a timer is in the list, or in the ready queue, or in the hands of code that runs no Python; but for one that was taken
 *       because it is cancelled
 * Thread   the loop's own, with the GIL
 */
#ifndef AN_HEAP_H
#define AN_HEAP_H

#include "loop.h"

int an_heap_push(an_loop *rec, PyObject *timer); /* 0 | -1+exc; it may be in the list then, as with heapq */
int an_heap_drop_cancelled(an_loop *rec);        /* all of them. 0 | -1+exc */
int an_heap_when(PyObject *timer, double *when); /* 0 | -1+exc; TIMER is anything that is in the list */
int an_heap_put_in_order(an_loop *rec);          /* 0 | -1+exc */

/* Take the first one, as it is settled and not empty: new ref | NULL+exc. Runs no Python; to be settled before any runs, or by
 * whoever looks at the heap next. */
PyObject *an_heap_take(an_loop *rec);

/* Before the first timer is looked at. 0 | -1+exc */
static inline int
an_heap_settle(an_loop *rec)
{
    return AN_LIKELY(rec->order == AN_HEAP_SETTLED) ? 0 : an_heap_put_in_order(rec);
}

/* 1 if TIMER, which was the first, still is | 0 another turn of the loop will look | -1+exc the list is empty, as heapq says */
static inline int
an_heap_is_first(an_loop *rec, PyObject *timer)
{
    if (AN_UNLIKELY(PyList_GET_SIZE(rec->scheduled) == 0)) {
        PyErr_SetString(PyExc_IndexError, "loop._scheduled was emptied while its first timer was looked at");
        return -1;
    }
    return rec->order == AN_HEAP_SETTLED && PyList_GET_ITEM(rec->scheduled, 0) == timer;
}

#endif
