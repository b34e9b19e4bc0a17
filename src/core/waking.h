/* waking.h - wake up the thread in which a loop sleeps.                                          Level 4: loop.
 *
 * By the loop's eventfd if it has one, else as asyncio does, by a byte in its socket pair. A loop that is awake looks at its
 * queue before it sleeps (poll.h), so nothing is written to it.
 *
 * Invariants
 *   K1  an eventfd is closed only when nobody is about to write to it: wakers counts those
 * Thread   any with the GIL; the write itself goes without
 */
#ifndef AN_WAKING_H
#define AN_WAKING_H

#include "loop.h"

/* what is left to be done, without the GIL, to wake a loop up; fd -1: nothing */
typedef struct {
    int fd;
    an_counter *count;
} an_waker;

/* For a loop that sleeps: to be given to an_waking_end(), soon and while the loop lives. */
an_waker an_waking_begin(an_loop *rec);
void an_waking_end(an_waker *waker); /* without the GIL */

/* As loop._write_to_self(). Errors of the write are none: the loop may be closing. new ref None | NULL+exc; runs Python */
PyObject *an_waking_wake(an_loop *rec, PyObject *loop);

/* The old one may be closed afterwards. -1: none; -2: none, and the other threads stayed in the parent process */
void an_waking_set_eventfd(an_loop *rec, int fd);

#endif
