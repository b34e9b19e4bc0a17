#include "poll.h"
#include "events.h"
#include "handle.h"
#include "heap.h"
#include "imports.h"
#include "kqueue.h"
#include "overrides.h"
#include "ready.h"
#include "thread.h"

#include <math.h>
#if AN_LINUX
#include <errno.h>
#include <sys/epoll.h>
#endif

#define AN_POLL_SKIP_MAX 64

/* ---- time ------------------------------------------------------------ */

double
an_loop_now(void)
{
    return an_monotonic();
}

int
an_loop_time(an_loop *rec, PyObject *loop, double *now)
{
    if (AN_LIKELY(!(rec->overrides & AN_OVR_TIME) && an_clock_is_stock())) {
        *now = an_loop_now();
        return 0;
    }
    PyObject *v = PyObject_CallMethodNoArgs(loop, an_st->s_time);
    if (v == NULL) {
        return -1;
    }
    *now = PyFloat_AsDouble(v);
    Py_DECREF(v);
    return *now == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* ---- timers ------------------------------------------------------------ */

/* Drop the cancelled ones: all when they are many, else those at the head. As asyncio does. */
static int
purge_timers(an_loop *rec)
{
    Py_ssize_t n = PyList_GET_SIZE(rec->scheduled);
    if (AN_UNLIKELY((double)n > an_the_limits.timers &&
                    (double)rec->timer_cancelled_count / (double)n > an_the_limits.cancelled)) {
        return an_heap_drop_cancelled(rec);
    }
    for (;;) {
        if (an_heap_settle(rec) < 0) {
            return -1;
        }
        if (PyList_GET_SIZE(rec->scheduled) == 0) {
            return 0;
        }
        PyObject *first = Py_NewRef(PyList_GET_ITEM(rec->scheduled, 0));
        int c = an_handle_cancelled(first);
        if (c > 0) {
            c = an_heap_is_first(rec, first);
        }
        if (c <= 0) {
            Py_DECREF(first);
            return c;
        }
        PyObject *taken = an_heap_take(rec);
        if (taken != NULL) {
            rec->timer_cancelled_count--;
            Py_DECREF(taken);
        }
        int r = taken == NULL ? -1 : PyObject_SetAttrString(first, "_scheduled", Py_False);
        Py_DECREF(first);
        if (r < 0) {
            return -1;
        }
    }
}

int
an_loop_timer_due(an_loop *rec, PyObject *loop)
{
    double now, when;
    if (AN_LIKELY(PyList_GET_SIZE(rec->scheduled) == 0)) {
        return 0;
    }
    if (an_heap_settle(rec) < 0) {
        return -1;
    }
    if (PyList_GET_SIZE(rec->scheduled) == 0) {
        return 0;
    }
    PyObject *h = Py_NewRef(PyList_GET_ITEM(rec->scheduled, 0));
    int r = an_heap_when(h, &when) < 0 || an_loop_time(rec, loop, &now) < 0 ? -1 : when < now + rec->clock_resolution;
    Py_DECREF(h);
    return r;
}

static int
collect_timers(an_loop *rec, PyObject *loop)
{
    double now;
    if (AN_LIKELY(PyList_GET_SIZE(rec->scheduled) == 0 && !(rec->overrides & AN_OVR_TIME) && an_the_clock.state == 0)) {
        return 0; /* (a clock of the loop's own is asked each time, as asyncio does: it may count) */
    }
    if (an_loop_time(rec, loop, &now) < 0) {
        return -1;
    }
    double end = now + rec->clock_resolution;
#if AN_PY314
    if (!(end > now)) {
        end = nextafter(now, INFINITY);
    }
#endif
    for (;;) {
        double when;
        if (an_heap_settle(rec) < 0) {
            return -1;
        }
        if (PyList_GET_SIZE(rec->scheduled) == 0) {
            return 0;
        }
        PyObject *h = Py_NewRef(PyList_GET_ITEM(rec->scheduled, 0));
        int r = an_heap_when(h, &when) < 0 ? -1 : when < end;
        if (r > 0) {
            r = an_heap_is_first(rec, h); /* asking for the time may have changed the list */
        }
        if (r <= 0) {
            Py_DECREF(h);
            return r;
        }
        r = 0;
        PyObject *taken = an_heap_take(rec);
        if (taken == NULL) {
            Py_DECREF(h);
            return -1;
        }
        Py_DECREF(taken);
        /* first into the queue, then the heap is settled, which may run Python */
        if (Py_IS_TYPE(h, (PyTypeObject *)an_st->type_timer)) {
            Py_XSETREF(AN_HSLOT(h, scheduled), Py_NewRef(Py_False));
        }
        else {
            r = PyObject_SetAttrString(h, "_scheduled", Py_False);
        }
        if (r == 0) {
            r = an_loop_push(rec, h);
        }
        Py_DECREF(h);
        if (r < 0) {
            return -1;
        }
    }
}

/* ---- poll ------------------------------------------------------------ */

/* What the sleep was computed from. A finalizer or a signal's handler that runs before it may add to it, or sleep here while
 * other stacks carry the loop. */
typedef struct {
    long long timers, blocks;
    size_t pending;
    const void *first; /* compared only */
} an_outlook;

static an_outlook
outlook(an_loop *rec)
{
    an_thread *th = an_thread_peek();
    return (an_outlook){
        .timers = rec->seq,
        .blocks = th == NULL ? 0 : th->seq,
        .pending = th == NULL ? 0 : th->pending.len,
        .first = PyList_GET_SIZE(rec->scheduled) > 0 ? PyList_GET_ITEM(rec->scheduled, 0) : NULL,
    };
}

/* 1 there may be something to do that was not there at BEFORE */
static int
is_stale(an_loop *rec, const an_outlook *before)
{
    an_outlook now = outlook(rec);
    return rec->ready.len > 0 || rec->stopping || rec->order != AN_HEAP_SETTLED || now.timers != before->timers ||
           now.first != before->first || now.blocks != before->blocks || now.pending > before->pending;
}

/* seconds until the next thing to do; negative: for ever. FROM: the timers that it is computed from */
static int
compute_timeout(an_loop *rec, PyObject *loop, double *timeout, an_outlook *from)
{
    if (an_heap_settle(rec) < 0) {
        return -1;
    }
    an_outlook seen = outlook(rec);
    from->timers = seen.timers;
    from->first = seen.first;
    *timeout = -1.0;
    Py_ssize_t n = an_loop_n_ready(rec);
    if (n < 0) {
        return -1;
    }
    if (n > 0 || rec->stopping) {
        *timeout = 0.0;
        return 0;
    }
    if (PyList_GET_SIZE(rec->scheduled) > 0) {
        double when, now;
        if (an_heap_when(PyList_GET_ITEM(rec->scheduled, 0), &when) < 0 || an_loop_time(rec, loop, &now) < 0) {
            return -1;
        }
        double t = when - now;
        *timeout = t < 0.0 ? 0.0 : t > an_the_limits.select_timeout ? an_the_limits.select_timeout : t;
    }
    return 0;
}

static int
poll_python(an_loop *rec, PyObject *loop, double timeout)
{
    PyObject *t = timeout < 0.0 ? Py_NewRef(Py_None) : timeout == 0.0 ? Py_NewRef(an_st->zero) : PyFloat_FromDouble(timeout);
    PyObject *selector = t == NULL ? NULL : PyObject_GetAttr(loop, an_st->s__selector);
    rec->selecting++;
    PyObject *events = selector == NULL ? NULL : PyObject_CallMethodOneArg(selector, an_st->s_select, t);
    rec->selecting--;
    Py_XDECREF(t);
    Py_XDECREF(selector);
    if (events == NULL) {
        return -1;
    }
    PyObject *r = PyObject_CallMethodOneArg(loop, an_st->s__process_events, events);
    Py_DECREF(events);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

#if AN_LINUX

static int
process_event(an_loop *rec, PyObject *loop, const struct epoll_event *ev)
{
    if (ev->data.fd == rec->eventfd) {
        return 0; /* edge-triggered: nothing to be read */
    }
    /* hang-ups and errors wake both sides, as in EpollSelector.select */
    int sides = (ev->events & ~(uint32_t)EPOLLOUT ? AN_READ : 0) | (ev->events & ~(uint32_t)EPOLLIN ? AN_WRITE : 0);
    return an_events_take(rec, loop, ev->data.fd, sides);
}

static AN_NOINLINE int
poll_epoll(an_loop *rec, PyObject *loop, double timeout)
{
    Py_ssize_t nfds = PyDict_GET_SIZE(rec->fdmap);
    int max = nfds > 0 ? (int)nfds : 1, cap, n, err;
    struct epoll_event *buf = an_events_buffer(rec, max, sizeof *buf, &cap);
    if (buf == NULL) {
        return -1;
    }
    int epfd = rec->pollfd;
    if (timeout == 0.0 && ++rec->polls_skipped % AN_GIL_EVERY != 0) {
        n = epoll_wait(epfd, buf, max, 0);
        err = errno;
    }
    else {
        int ms = timeout < 0.0 ? -1 : timeout == 0.0 ? 0 : (int)ceil(timeout * 1e3);
        rec->sleeping = 1;
        Py_BEGIN_ALLOW_THREADS
        n = epoll_wait(epfd, buf, max, ms);
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

/* 1 if nothing but the loop's own wake-up pipe could be ready and there is work: what other threads added is in the queue
 * already. Not more often than AN_POLL_SKIP_MAX times on end: the loop may have been given another selector. */
static inline int
may_skip(an_loop *rec)
{
    return rec->pollfd >= 0 && rec->ready.len > 0 && !rec->look_at_selector &&
           rec->polls_skipped % AN_POLL_SKIP_MAX != AN_POLL_SKIP_MAX - 1 && PyDict_GET_SIZE(rec->fdmap) <= rec->internal_fds &&
           (rec->sighandlers == NULL || PyDict_GET_SIZE(rec->sighandlers) == 0) &&
           rec->selector_dict_tag == an_watch_tag(rec->selector_dict);
}

static int
poll_selector(an_loop *rec, PyObject *loop, double timeout, const an_outlook *before)
{
    PyObject *selector = PyObject_GetAttr(loop, an_st->s__selector);
    if (selector == NULL) {
        return -1;
    }
    int rc = 0;
    if (AN_UNLIKELY(selector != rec->selector || rec->look_at_selector ||
                    rec->selector_dict_tag != an_watch_tag(rec->selector_dict))) {
        rc = an_loop_look_at_selector(rec, loop, selector);
    }
    Py_DECREF(selector);
    if (rc < 0) {
        return -1;
    }
    if (timeout != 0.0) {
        /* A signal that came since the last Python frame, or garbage to be collected; and other threads that ran while the
         * loop's own time() or another Python method was called above: what they added saw no sleeper, so no wake-up was
         * written. From here to the sleep in epoll or kqueue no Python runs; select() is Python (see rec->selecting). */
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
        if (is_stale(rec, before)) {
            timeout = 0.0;
        }
    }
#if AN_LINUX
    if (AN_LIKELY(rec->pollfd >= 0)) {
        return poll_epoll(rec, loop, timeout);
    }
#elif AN_KQUEUE
    if (AN_LIKELY(rec->pollfd >= 0)) {
        return an_kqueue_poll(rec, loop, timeout);
    }
#endif
    return poll_python(rec, loop, timeout);
}

#if AN_DICTS_MAY_BE_SILENT
/* 1 if one of the two names of the loop's __dict__ that a turn needs has got another value */
static inline int
another_value(an_loop *rec)
{
    PyObject *dict = *rec->dict_at, *selector, *resolution;
    if (dict == NULL) {
        return 1;
    }
    selector = PyDict_GetItemWithError(dict, an_st->s__selector);
    resolution = PyList_GET_SIZE(rec->scheduled) == 0 ? NULL : PyDict_GetItemWithError(dict, an_st->s__clock_resolution);
    PyErr_Clear();
    return AN_UNLIKELY(
        (selector != NULL && selector != rec->selector) ||
        (resolution != NULL && PyFloat_CheckExact(resolution) && PyFloat_AS_DOUBLE(resolution) != rec->clock_resolution));
}
#endif

/* What was replaced counts from this turn on. 0 | -1+exc; runs Python */
static inline int
keep_up(an_loop *rec, PyObject *loop)
{
    PyTypeObject *polled = (PyTypeObject *)an_st->o_PolledSelector;
    if (an_loop_keep_up(rec, loop) < 0 || an_handle_keep_up() < 0) {
        return -1;
    }
#if AN_DICTS_MAY_BE_SILENT
    if (another_value(rec) && an_loop_look_again(rec, loop) < 0) {
        return -1;
    }
#endif
    if (polled != NULL && AN_UNLIKELY(rec->selector_tag != an_watch_class(polled))) {
        rec->look_at_selector = 1;
    }
    return 0;
}

int
an_loop_poll(an_loop *rec, PyObject *loop, int wait)
{
    double timeout;
    an_outlook before = outlook(rec);
    if (an_imports_check() < 0 || keep_up(rec, loop) < 0 ||
        (AN_UNLIKELY(PyList_GET_SIZE(rec->scheduled) > 0) && purge_timers(rec) < 0)) {
        return -1;
    }
    if (compute_timeout(rec, loop, &timeout, &before) < 0) {
        return -1;
    }
    if (!wait) {
        timeout = 0.0;
    }
    if (AN_UNLIKELY(rec->relay.due.len > 0) && an_relay_run(&rec->relay, timeout != 0.0) && timeout != 0.0 &&
        compute_timeout(rec, loop, &timeout, &before) < 0) {
        return -1; /* (other threads ran meanwhile) */
    }
    int rc = 0;
    if (timeout == 0.0 && may_skip(rec)) {
        rec->polls_skipped++;
    }
    else {
        rc = poll_selector(rec, loop, timeout, &before);
    }
    if (rc < 0 || collect_timers(rec, loop) < 0) {
        return -1;
    }
    Py_ssize_t n = an_loop_n_ready(rec);
    rec->todo = n < 0 ? 0 : n;
    rec->inplace = 0;
    return n < 0 ? -1 : 0;
}
