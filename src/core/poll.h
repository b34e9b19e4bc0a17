/* poll.h - what happens between two batches: due timers, I/O, the sleep.                         Level 4: loop, handle.
 *
 * As BaseEventLoop._run_once and select() of EpollSelector or KqueueSelector, without a Python frame while nothing is ready.
 *
 * Thread   the loop's; the GIL is released while it sleeps. The clock: any
 */
#ifndef AN_POLL_H
#define AN_POLL_H

#include "loop.h"

double an_loop_now(void);                                    /* as time.monotonic() */
int an_loop_time(an_loop *rec, PyObject *loop, double *now); /* the loop's own clock. 0 | -1+exc; may run Python */

/* Poll, collect due timers, and set todo for the next batch. WAIT 0: never sleep. 0 | -1+exc; runs Python */
int an_loop_poll(an_loop *rec, PyObject *loop, int wait);

/* 1 if the heap has a timer that is due, 0 if not, -1+exc */
int an_loop_timer_due(an_loop *rec, PyObject *loop);

#endif
