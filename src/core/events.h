/* events.h - what a system call has found for a loop's selector, as handles in its queue.        Level 4: loop, ready.
 *
 * As BaseSelectorEventLoop._process_events, one event at a time; which side it is for is known where its system call is made
 * (poll.c, kqueue.c). Looked up anew each time: the handle of the event before may have changed what is registered.
 *
 * Thread   the loop's
 */
#ifndef AN_EVENTS_H
#define AN_EVENTS_H

#include "loop.h"

#if AN_POLLS

enum { AN_READ = 1, AN_WRITE = 2 }; /* as selectors.EVENT_READ and EVENT_WRITE */

/* FD is ready on SIDES. Those that nobody has registered are passed over. 0 | -1+exc; runs Python */
int an_events_take(an_loop *rec, PyObject *loop, int fd, int sides);

/* The loop's buffer, for at least N events of SIZE bytes, *CAP of them. It is the caller's until it is given back: events are
 * handled in Python's sight. NULL+exc */
void *an_events_buffer(an_loop *rec, int n, size_t size, int *cap);
void an_events_give_back(an_loop *rec, void *buf, int cap);

#endif
#endif
