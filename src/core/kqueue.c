#include "kqueue.h"
#include "events.h"
#include "watch.h"

#if AN_KQUEUE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>

#define AN_LONGEST 1e8 /* seconds: macOS refuses more */

static void
forked(void)
{
    an_watch_epoch++; /* V1 */
}

int
an_kqueue_init(void)
{
    const char *choice = getenv("AIONEST_KQUEUE");
    if (choice == NULL || strcmp(choice, "1") != 0) {
        return 0;
    }
    int err = pthread_atfork(NULL, NULL, forked);
    if (err != 0) {
        errno = err;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 1;
}

/* Rounded up to the nanosecond, as by kqueue.control. 0 | -1+exc */
static int
as_timespec(double seconds, struct timespec *to)
{
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "Invalid value NaN (not a number)");
        return -1;
    }
    long long ns = (long long)ceil((seconds < AN_LONGEST ? seconds : AN_LONGEST) * 1e9);
    to->tv_sec = (time_t)(ns / 1000000000);
    to->tv_nsec = (long)(ns % 1000000000);
    return 0;
}

static int
process_event(an_loop *rec, PyObject *loop, const struct kevent *ev)
{
    int sides = ev->filter == EVFILT_READ ? AN_READ : ev->filter == EVFILT_WRITE ? AN_WRITE : 0;
    return sides == 0 ? 0 : an_events_take(rec, loop, (int)ev->ident, sides);
}

int
an_kqueue_poll(an_loop *rec, PyObject *loop, double timeout)
{
    struct timespec ts = {0, 0}, *until = &ts;
    if (timeout < 0.0) {
        until = NULL;
    }
    else if (timeout != 0.0 && as_timespec(timeout, &ts) < 0) {
        return -1;
    }
    Py_ssize_t n_fds = PyDict_GET_SIZE(rec->fdmap);
    int max = n_fds > 0 ? (int)n_fds * rec->sides : 1, cap, n, err; /* (for no event at all kevent() does not wait) */
    struct kevent *buf = an_events_buffer(rec, max, sizeof *buf, &cap);
    if (buf == NULL) {
        return -1;
    }
    int kq = rec->pollfd;
    if (timeout == 0.0 && ++rec->polls_skipped % AN_GIL_EVERY != 0) {
        n = kevent(kq, NULL, 0, buf, AN_KEVENTS(max), until);
        err = errno;
    }
    else {
        rec->sleeping = 1;
        Py_BEGIN_ALLOW_THREADS
        n = kevent(kq, NULL, 0, buf, AN_KEVENTS(max), until);
        err = errno;
        Py_END_ALLOW_THREADS
        rec->sleeping = 0;
    }
    rec->woken = 0;
    int rc = 0;
    if (n < 0 && err == EINTR) {
        rc = PyErr_CheckSignals();
    }
    else if (n < 0) {
        errno = err;
        PyErr_SetFromErrno(PyExc_OSError);
        rc = -1;
    }
    for (int i = 0; i < n && rc == 0; i++) {
        rc = process_event(rec, loop, &buf[i]);
    }
    an_events_give_back(rec, buf, cap);
    return rc;
}

#endif
