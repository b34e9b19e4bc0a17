#include "waking.h"

#if AN_LINUX
#include <sched.h>
#include <stdint.h>
#include <unistd.h>
#endif
#if AN_POLLS
#include <sys/socket.h>
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; Python ignores the signal */
#endif
#endif

#if AN_LINUX

an_waker
an_waking_begin(an_loop *rec)
{
    an_waker waker = {rec->eventfd, &rec->wakers};
    rec->woken = rec->sleeping;
    AN_COUNTER_ADD(waker.count, 1);
    return waker;
}

void
an_waking_end(an_waker *waker)
{
    const uint64_t one = 1;
    if (waker->fd >= 0) {
        ssize_t n = write(waker->fd, &one, sizeof one); /* it is never read: full after 2^64 times */
        (void)n;
        AN_COUNTER_ADD(waker->count, -1);
    }
}

void
an_waking_set_eventfd(an_loop *rec, int fd)
{
    rec->eventfd = fd < 0 ? -1 : fd;
    if (fd < -1) { /* after fork(): they are not here */
        AN_COUNTER_SET(&rec->wakers, 0);
    }
    /* whoever is about to write to the old one is done in a moment: then it may be closed */
    while (AN_COUNTER_GET(&rec->wakers) > 0) {
        sched_yield();
    }
}

#else

an_waker
an_waking_begin(an_loop *rec)
{
    return (an_waker){-1, NULL};
}

void
an_waking_end(an_waker *waker)
{
}

void
an_waking_set_eventfd(an_loop *rec, int fd)
{
}

#endif

PyObject *
an_waking_wake(an_loop *rec, PyObject *loop)
{
#if AN_POLLS
    if ((!(rec->overrides & AN_OVR_WRITE_TO_SELF) || rec->eventfd >= 0) && rec->pollfd >= 0) {
        if (rec->carried && !(rec->overrides & AN_OVR_RUN_ONCE) && (!rec->sleeping || rec->woken)) {
            Py_RETURN_NONE; /* awake, and it looks at its queue before it sleeps; or woken already */
        }
        if (rec->eventfd >= 0) {
            an_waker waker = an_waking_begin(rec);
            Py_INCREF(rec);
            Py_BEGIN_ALLOW_THREADS
            an_waking_end(&waker);
            Py_END_ALLOW_THREADS
            Py_DECREF(rec);
            Py_RETURN_NONE;
        }
        PyObject *csock = PyObject_GetAttr(loop, an_st->s__csock);
        if (csock == NULL) {
            return NULL;
        }
        if (csock != Py_None) {
            int fd = PyObject_AsFileDescriptor(csock);
            if (fd < 0) {
                PyErr_Clear();
            }
            else {
                /* without the GIL, so that the loop's thread can take it at once: csock is ours until then */
                rec->woken = rec->sleeping;
                Py_INCREF(rec);
                ssize_t n;
                Py_BEGIN_ALLOW_THREADS
                n = send(fd, "\0", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
                Py_END_ALLOW_THREADS
                if (n != 1) {
                    rec->woken = 0;
                }
                Py_DECREF(rec);
            }
        }
        Py_DECREF(csock);
        Py_RETURN_NONE;
    }
#endif
    return PyObject_CallMethodNoArgs(loop, an_st->s__write_to_self);
}
