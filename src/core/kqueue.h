/* kqueue.h - polling on macOS and the BSDs: a loop's selector is a KqueueSelector.               Level 4: events.
 *
 * As KqueueSelector.select and kqueue.control, without a Python frame while nothing is ready. Off unless the environment says
 * AIONEST_KQUEUE=1 when the module is imported: else such selectors are asked by select(), as all others are.
 *
 * Each side of a descriptor has a filter and events of its own. Only an event's filter counts, as in select(): the end of the
 * stream (EV_EOF) is an event of the side that meets it, and EV_ERROR is for changes, of which none are made here.
 *
 * Invariants
 *   V1  after fork() the child looks at its selectors again before it polls: it has no queue, and another may get its number
 * Thread   the loop's; the GIL is released while it sleeps
 */
#ifndef AN_KQUEUE_H
#define AN_KQUEUE_H

#include "loop.h"

#if AN_KQUEUE

int an_kqueue_init(void); /* 1 it is to be used | 0 it is not | -1+exc */

/* Wait TIMEOUT seconds, negative for ever, and queue what is ready. 0 | -1+exc; runs Python */
int an_kqueue_poll(an_loop *rec, PyObject *loop, double timeout);

#endif
#endif
