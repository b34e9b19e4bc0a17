#include "loop.h"
#include "err.h"
#include "handle.h"
#include "thread.h"

#include <math.h>
#include <stddef.h>
#include <time.h>
#ifdef __linux__
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#endif

#define AN_MAX_SELECT_TIMEOUT (24.0 * 3600.0) /* as base_events.MAXIMUM_SELECT_TIMEOUT */
#define AN_MIN_SCHEDULED_TIMER_HANDLES 100    /* as base_events._MIN_SCHEDULED_TIMER_HANDLES */
#define AN_POLL_SKIP_MAX 64
#define AN_GIL_EVERY 64

/* ---- the record ------------------------------------------------------------------------------------------------ */

static an_loop *all_records = NULL;

static void
unlink_record(an_loop *rec)
{
    if (rec->prev != NULL) {
        rec->prev->next = rec->next;
    }
    else if (all_records == rec) {
        all_records = rec->next;
    }
    if (rec->next != NULL) {
        rec->next->prev = rec->prev;
    }
    rec->prev = rec->next = NULL;
}

static int
loop_traverse(PyObject *self, visitproc visit, void *arg)
{
    an_loop *rec = (an_loop *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(rec->loop_ref);
    for (size_t i = 0; i < rec->ready.len; i++) {
        Py_VISIT(an_ring_at(&rec->ready, i));
    }
    Py_VISIT(rec->scheduled);
    Py_VISIT(rec->current_handle);
    Py_VISIT(rec->selector);
    Py_VISIT(rec->fdmap);
    Py_VISIT(rec->sighandlers);
    Py_VISIT(rec->guest);
    Py_VISIT(rec->stop_waiters);
    return 0;
}

static void
forget(an_loop *rec)
{
    if (an_st->cache_rec == rec) {
        an_st->cache_rec = NULL;
        an_st->cache_loop = NULL;
    }
}

static int
loop_clear(PyObject *self)
{
    an_loop *rec = (an_loop *)self;
    forget(rec);
    an_ring_clear(&rec->ready);
    Py_CLEAR(rec->loop_ref);
    /* a record in use keeps a list here: others may still look at it */
    if (rec->scheduled != NULL) {
        PyObject *old = rec->scheduled;
        rec->scheduled = NULL;
        Py_DECREF(old);
    }
    Py_CLEAR(rec->current_handle);
    Py_CLEAR(rec->selector);
    Py_CLEAR(rec->fdmap);
    Py_CLEAR(rec->sighandlers);
    Py_CLEAR(rec->guest);
    Py_CLEAR(rec->stop_waiters);
    rec->epfd = -1;
    return 0;
}

static void
loop_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    unlink_record((an_loop *)self);
    (void)loop_clear(self);
    PyMem_Free(((an_loop *)self)->evbuf);
    an_st->n_records--;
    tp->tp_free(self);
    Py_DECREF(tp);
}

/* True if REC is LOOP's. Asks the weak reference: it is cleared before the loop's memory can be used again. */
static inline int
is_record_of(an_loop *rec, PyObject *loop)
{
    return rec->loop_ref != NULL && ((PyWeakReference *)rec->loop_ref)->wr_object == loop;
}

/* Take over NAME from the loop's __dict__, where it was before apply(). new ref | NULL not there | NULL+exc */
static PyObject *
take_over(PyObject *dict, PyObject *name)
{
    PyObject *v;
    if (PyDict_GetItemRef(dict, name, &v) < 0) {
        return NULL;
    }
    if (v != NULL && PyDict_DelItem(dict, name) < 0) {
        Py_CLEAR(v);
    }
    return v;
}

static int
take_flag(PyObject *dict, PyObject *name, int *flag)
{
    PyObject *v = take_over(dict, name);
    if (v == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    *flag = PyObject_IsTrue(v);
    Py_DECREF(v);
    return *flag < 0 ? -1 : 0;
}

static int
take_all(an_loop *rec, PyObject *dict)
{
    an_state *st = an_st;
    int stopping = 0;
    if (take_flag(dict, st->s__closed, &rec->closed) < 0 || take_flag(dict, st->s__debug, &rec->debug) < 0 ||
        take_flag(dict, st->s__stopping, &stopping) < 0) {
        return -1;
    }
    rec->stopping = stopping ? AN_STOP_USER : AN_STOP_NO;
    PyObject *v = take_over(dict, st->s__timer_cancelled_count);
    if (v != NULL) {
        rec->timer_cancelled_count = PyLong_AsSsize_t(v);
        Py_DECREF(v);
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    v = take_over(dict, st->s__scheduled);
    if (v != NULL && PyList_Check(v)) {
        Py_SETREF(rec->scheduled, v);
    }
    else {
        Py_XDECREF(v);
    }
    v = PyErr_Occurred() ? NULL : take_over(dict, st->s__ready);
    if (v != NULL) {
        int r = an_ready_extend(rec, v);
        Py_DECREF(v);
        return r;
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* The record that unapply() left in the loop's __dict__ as _ready. new ref | NULL there is none | NULL+exc */
static an_loop *
left_record(PyObject *dict)
{
    PyObject *v;
    if (PyDict_GetItemRef(dict, an_st->s__ready, &v) <= 0) {
        return NULL;
    }
    if (!Py_IS_TYPE(v, (PyTypeObject *)an_st->type_loop)) {
        Py_CLEAR(v);
    }
    else if (PyDict_DelItem(dict, an_st->s__ready) < 0) {
        Py_CLEAR(v);
    }
    return (an_loop *)v;
}

/* 1 if frames of asyncio's own run loop may be under way for LOOP */
static int
runs_already(PyObject *dict)
{
    PyObject *v = PyDict_GetItemString(dict, "_thread_id");
    return v != NULL && v != Py_None;
}

static an_loop *
make_record(PyObject *loop)
{
    an_state *st = an_st;
    PyTypeObject *tp = (PyTypeObject *)st->type_loop;
    PyObject *dict = PyObject_GenericGetDict(loop, NULL);
    if (dict == NULL) {
        return NULL;
    }
    an_loop *rec = left_record(dict);
    if (rec == NULL) {
        rec = PyErr_Occurred() ? NULL : (an_loop *)tp->tp_alloc(tp, 0);
        if (rec == NULL) {
            Py_DECREF(dict);
            return NULL;
        }
        st->n_records++;
        rec->epfd = rec->wake_fd = -1;
        rec->clock_resolution = 1e-9;
        rec->next = all_records;
        if (all_records != NULL) {
            all_records->prev = rec;
        }
        all_records = rec;
        if ((rec->scheduled = PyList_New(0)) == NULL) {
            goto fail;
        }
    }
    rec->inflight = runs_already(dict);
    PyObject *ref = PyWeakref_NewRef(loop, NULL);
    if (ref == NULL) {
        goto fail;
    }
    Py_XSETREF(rec->loop_ref, ref);
    if (take_all(rec, dict) < 0 || PyDict_SetItem(dict, st->s__aionest, (PyObject *)rec) < 0) {
        goto fail;
    }
    Py_CLEAR(dict);
    if (an_loop_refresh(rec, loop) < 0) {
        goto fail;
    }
    Py_DECREF(rec); /* the loop's __dict__ keeps it */
    return rec;
fail:
    Py_XDECREF(dict);
    Py_DECREF(rec);
    return NULL;
}

PyObject *
an_loop_all(void)
{
    PyObject *list = PyList_New(0);
    for (an_loop *rec = all_records; list != NULL && rec != NULL; rec = rec->next) {
        PyObject *loop = rec->loop_ref == NULL ? Py_None : ((PyWeakReference *)rec->loop_ref)->wr_object;
        if (loop != Py_None && Py_REFCNT(loop) > 0 && PyList_Append(list, loop) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

int
an_loop_put_back(PyObject *loop)
{
    an_state *st = an_st;
    an_loop *rec = an_loop_peek(loop);
    PyObject *dict = rec == NULL ? NULL : PyObject_GenericGetDict(loop, NULL);
    if (dict == NULL) {
        return rec == NULL ? 0 : -1;
    }
    PyObject *count = PyLong_FromSsize_t(rec->timer_cancelled_count);
    int r = count == NULL || PyDict_SetItem(dict, st->s__ready, (PyObject *)rec) < 0 ||
                    PyDict_SetItem(dict, st->s__scheduled, rec->scheduled) < 0 ||
                    PyDict_SetItem(dict, st->s__closed, rec->closed ? Py_True : Py_False) < 0 ||
                    PyDict_SetItem(dict, st->s__debug, rec->debug ? Py_True : Py_False) < 0 ||
                    PyDict_SetItem(dict, st->s__stopping, rec->stopping ? Py_True : Py_False) < 0 ||
                    PyDict_SetItem(dict, st->s__timer_cancelled_count, count) < 0 ||
                    PyDict_DelItem(dict, st->s__aionest) < 0
                ? -1
                : 0;
    forget(rec);
    Py_XDECREF(count);
    Py_DECREF(dict);
    return r;
}

an_loop *
an_loop_peek(PyObject *loop)
{
    an_state *st = an_st;
    if (AN_LIKELY(loop == st->cache_loop && loop != NULL && is_record_of(st->cache_rec, loop))) {
        return st->cache_rec;
    }
    if (loop == NULL || !PyObject_TypeCheck(loop, (PyTypeObject *)st->o_BaseEventLoop)) {
        return NULL;
    }
    PyObject *exc = PyErr_GetRaisedException(), *v = NULL;
    if (PyObject_GetOptionalAttr(loop, st->s__aionest, &v) < 0) {
        PyErr_Clear();
    }
    PyErr_SetRaisedException(exc);
    if (v == NULL || !Py_IS_TYPE(v, (PyTypeObject *)st->type_loop)) {
        Py_XDECREF(v);
        return NULL;
    }
    an_loop *rec = (an_loop *)v;
    Py_DECREF(v); /* the loop's __dict__ keeps it */
    if (is_record_of(rec, loop)) {
        st->cache_loop = loop;
        st->cache_rec = rec;
    }
    return rec;
}

an_loop *
an_loop_get(PyObject *loop)
{
    an_loop *rec = an_loop_peek(loop);
    if (AN_LIKELY(rec != NULL)) {
        return rec;
    }
    if (!PyObject_TypeCheck(loop, (PyTypeObject *)an_st->o_BaseEventLoop)) {
        an_err("ForeignLoopError",
               "aionest can suspend code only on loops derived from asyncio.BaseEventLoop (asyncio.SelectorEventLoop and "
               "its like), not on %.200s: run this part on such a loop, or call it from another thread",
               Py_TYPE(loop)->tp_name);
        return NULL;
    }
    if (make_record(loop) == NULL) {
        return NULL;
    }
    return an_loop_peek(loop);
}

/* ---- what the loop overrides ------------------------------------------------------------------------------------ */

/* 1 if NAME of LOOP's class or of LOOP itself is neither asyncio's own nor ours, 0 if it is, -1+exc */
static int
overridden(PyObject *loop, PyObject *dict, PyObject *name, PyObject *stock)
{
    int in_dict = PyDict_Contains(dict, name);
    if (in_dict != 0) {
        return in_dict;
    }
    PyObject *f;
    int found = PyObject_GetOptionalAttr((PyObject *)Py_TYPE(loop), name, &f);
    if (found <= 0) {
        return found < 0 ? -1 : 1;
    }
    int r = f != stock && !Py_IS_TYPE(f, &PyMethodDescr_Type);
    Py_DECREF(f);
    return r;
}

static void
drop_selector(an_loop *rec)
{
    PyObject *fdmap = rec->fdmap, *sighandlers = rec->sighandlers;
    rec->epfd = rec->wake_fd = -1;
    rec->fdmap = NULL;
    rec->sighandlers = NULL;
    Py_XDECREF(fdmap);
    Py_XDECREF(sighandlers);
}

static int
look_at_selector(an_loop *rec, PyObject *loop, PyObject *selector)
{
    an_state *st = an_st;
    PyObject *v = NULL;
    drop_selector(rec);
    Py_XSETREF(rec->selector, Py_NewRef(selector));
    if (st->o_EpollSelector == NULL || !Py_IS_TYPE(selector, (PyTypeObject *)st->o_EpollSelector) ||
        (rec->overrides & AN_OVR_PROCESS_EVENTS)) {
        return 0;
    }
    PyObject *sel_dict = PyObject_GenericGetDict(selector, NULL);
    int patched = sel_dict == NULL ? -1 : PyDict_Contains(sel_dict, st->s_select);
    Py_XDECREF(sel_dict);
    if (patched != 0) {
        return patched < 0 ? -1 : 0;
    }
    if (PyObject_GetOptionalAttr(selector, st->s__fd_to_key, &v) < 0) {
        return -1;
    }
    if (v == NULL || !PyDict_CheckExact(v)) {
        Py_XDECREF(v);
        return 0;
    }
    rec->fdmap = v;
    if (PyObject_GetOptionalAttr(loop, st->s__signal_handlers, &v) < 0) {
        return -1;
    }
    if (v != NULL && PyDict_CheckExact(v)) {
        rec->sighandlers = v;
    }
    else {
        Py_XDECREF(v);
    }
    if (PyObject_GetOptionalAttr(loop, st->s__internal_fds, &v) < 0) {
        return -1;
    }
    rec->wake_fd = -1;
    PyObject *ssock;
    if (PyObject_GetOptionalAttr(loop, st->s__ssock, &ssock) > 0) {
        rec->wake_fd = ssock == Py_None ? -1 : PyObject_AsFileDescriptor(ssock);
        Py_DECREF(ssock);
    }
    PyErr_Clear();
    rec->internal_fds = v != NULL && PyLong_Check(v) ? (int)PyLong_AsLong(v) : -1;
    Py_XDECREF(v);
    v = PyObject_CallMethodNoArgs(selector, st->s_fileno);
    if (v == NULL) {
        /* a closed selector: its own select() shall say so */
        PyErr_Clear();
        return 0;
    }
    rec->epfd = (int)PyLong_AsLong(v);
    Py_DECREF(v);
    return PyErr_Occurred() ? -1 : 0;
}

int
an_loop_refresh(an_loop *rec, PyObject *loop)
{
    an_state *st = an_st;
    const struct {
        PyObject *name, *stock;
        int flag;
    } table[] = {
        {st->s__call_soon, st->stock__call_soon, AN_OVR_CALL_SOON},
        {st->s__check_closed, st->stock_check_closed, AN_OVR_CALL_SOON},
        {st->s_get_debug, st->stock_get_debug, AN_OVR_CALL_SOON},
        {st->s_call_at, st->stock_call_at, AN_OVR_CALL_AT},
        {st->s_time, st->stock_time, AN_OVR_TIME},
        {st->s__timer_handle_cancelled, st->stock_timer_handle_cancelled, AN_OVR_TIMER_CANCELLED},
        {st->s__run_once, st->stock_run_once, AN_OVR_RUN_ONCE},
        {st->s__process_events, st->stock_process_events, AN_OVR_PROCESS_EVENTS},
        {st->s__write_to_self, st->stock_write_to_self, AN_OVR_WRITE_TO_SELF},
        {st->s_create_task, st->stock_create_task, AN_OVR_CREATE_TASK},
    };
    PyObject *dict = PyObject_GenericGetDict(loop, NULL), *v;
    if (dict == NULL) {
        return -1;
    }
    int overrides = 0;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(table); i++) {
        int r = overridden(loop, dict, table[i].name, table[i].stock);
        if (r < 0) {
            Py_DECREF(dict);
            return -1;
        }
        overrides |= r ? table[i].flag : 0;
    }
    Py_DECREF(dict);
    rec->overrides = overrides;
    if (PyObject_GetOptionalAttr(loop, st->s__clock_resolution, &v) < 0) {
        return -1;
    }
    if (v != NULL) {
        double res = PyFloat_AsDouble(v);
        Py_DECREF(v);
        if (res == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
        }
        else {
            rec->clock_resolution = res;
        }
    }
    if (PyObject_GetOptionalAttr(loop, st->s__selector, &v) < 0) {
        return -1;
    }
    if (v == NULL) {
        drop_selector(rec);
        Py_CLEAR(rec->selector);
        return 0;
    }
    int r = look_at_selector(rec, loop, v);
    Py_DECREF(v);
    return r;
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

double
an_loop_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

int
an_loop_time(an_loop *rec, PyObject *loop, double *now)
{
    if (AN_LIKELY(!(rec->overrides & AN_OVR_TIME))) {
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

/* ---- timers ----------------------------------------------------------------------------------------------------- */

/* Drop the cancelled ones: all when they are many, else those at the head. As asyncio does. */
static int
purge_timers(an_loop *rec)
{
    PyObject *list = rec->scheduled;
    Py_ssize_t n = PyList_GET_SIZE(list);
    if (n > AN_MIN_SCHEDULED_TIMER_HANDLES && rec->timer_cancelled_count * 2 > n) {
        PyObject *fresh = PyList_New(0), *heap = rec->scheduled;
        if (fresh == NULL) {
            return -1;
        }
        rec->scheduled = fresh;
        rec->timer_cancelled_count = 0;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(heap); i++) {
            PyObject *h = PyList_GET_ITEM(heap, i);
            int c = an_handle_cancelled(h);
            if (c == 0) {
                c = an_heap_push(rec, h);
            }
            else if (c > 0) {
                c = PyObject_SetAttrString(h, "_scheduled", Py_False);
            }
            if (c < 0) {
                Py_DECREF(heap);
                return -1;
            }
        }
        Py_DECREF(heap); /* may run Python: the record is whole again */
        return 0;
    }
    while (PyList_GET_SIZE(rec->scheduled) > 0) {
        int c = an_handle_cancelled(PyList_GET_ITEM(rec->scheduled, 0));
        if (c <= 0) {
            return c;
        }
        PyObject *h = an_heap_pop(rec);
        if (h == NULL) {
            return -1;
        }
        rec->timer_cancelled_count--;
        int r = PyObject_SetAttrString(h, "_scheduled", Py_False);
        Py_DECREF(h);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

static int
timer_when(PyObject *h, double *when)
{
    PyObject *w;
    if (AN_LIKELY(PyObject_TypeCheck(h, (PyTypeObject *)an_st->o_TimerHandle))) {
        w = AN_HSLOT(h, when);
        if (AN_LIKELY(w != NULL && PyFloat_CheckExact(w))) {
            *when = PyFloat_AS_DOUBLE(w);
            return 0;
        }
    }
    w = PyObject_GetAttrString(h, "_when");
    if (w == NULL) {
        return -1;
    }
    *when = PyFloat_AsDouble(w);
    Py_DECREF(w);
    return *when == -1.0 && PyErr_Occurred() ? -1 : 0;
}

int
an_loop_timer_due(an_loop *rec, PyObject *loop)
{
    double now, when;
    if (AN_LIKELY(PyList_GET_SIZE(rec->scheduled) == 0)) {
        return 0;
    }
    PyObject *h = Py_NewRef(PyList_GET_ITEM(rec->scheduled, 0));
    int r = timer_when(h, &when) < 0 || an_loop_time(rec, loop, &now) < 0 ? -1 : when < now + rec->clock_resolution;
    Py_DECREF(h);
    return r;
}

static int
collect_timers(an_loop *rec, PyObject *loop)
{
    double now;
    if (PyList_GET_SIZE(rec->scheduled) == 0) {
        return 0;
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
    while (PyList_GET_SIZE(rec->scheduled) > 0) {
        double when;
        if (timer_when(PyList_GET_ITEM(rec->scheduled, 0), &when) < 0) {
            return -1;
        }
        if (when >= end) {
            break;
        }
        PyObject *h = an_heap_pop(rec);
        if (h == NULL) {
            return -1;
        }
        int r = 0;
        if (Py_IS_TYPE(h, (PyTypeObject *)an_st->type_timer)) {
            Py_SETREF(AN_HSLOT(h, scheduled), Py_NewRef(Py_False));
        }
        else {
            r = PyObject_SetAttrString(h, "_scheduled", Py_False);
        }
        if (r == 0) {
            r = an_ring_push(&rec->ready, h);
        }
        Py_DECREF(h);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- poll ------------------------------------------------------------------------------------------------------- */

/* seconds until the next thing to do; negative: for ever */
static int
compute_timeout(an_loop *rec, PyObject *loop, double *timeout)
{
    *timeout = -1.0;
    if (rec->ready.len > 0 || rec->stopping) {
        *timeout = 0.0;
        return 0;
    }
    if (PyList_GET_SIZE(rec->scheduled) > 0) {
        double when, now;
        if (timer_when(PyList_GET_ITEM(rec->scheduled, 0), &when) < 0 || an_loop_time(rec, loop, &now) < 0) {
            return -1;
        }
        double t = when - now;
        *timeout = t < 0.0 ? 0.0 : t > AN_MAX_SELECT_TIMEOUT ? AN_MAX_SELECT_TIMEOUT : t;
    }
    return 0;
}

static int
poll_python(an_loop *rec, PyObject *loop, double timeout)
{
    PyObject *t = timeout < 0.0 ? Py_NewRef(Py_None)
                  : timeout == 0.0 ? Py_NewRef(an_st->zero)
                                   : PyFloat_FromDouble(timeout);
    PyObject *selector = t == NULL ? NULL : PyObject_GetAttr(loop, an_st->s__selector);
    PyObject *events = selector == NULL ? NULL : PyObject_CallMethodOneArg(selector, an_st->s_select, t);
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

#ifdef __linux__

/* As BaseSelectorEventLoop._process_events for one side of one key. */
static int
add_io_handle(an_loop *rec, PyObject *loop, PyObject *fileobj, PyObject *handle, PyObject *remover)
{
    if (handle == Py_None) {
        return 0;
    }
    int c = an_handle_cancelled(handle);
    if (c < 0) {
        return -1;
    }
    if (c == 0) {
        return an_ring_push(&rec->ready, handle);
    }
    PyObject *r = PyObject_CallMethodOneArg(loop, remover, fileobj);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* The wake-up pipe has bytes: what BaseSelectorEventLoop._read_from_self does, without a handle. Zero bytes only wake;
 * others are signal numbers. 0 | -1+exc */
static int
drain_wakeups(an_loop *rec, PyObject *loop)
{
    char buf[512];
    ssize_t n = recv(rec->wake_fd, buf, sizeof buf, MSG_DONTWAIT);
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] != 0) {
            PyObject *data = PyBytes_FromStringAndSize(buf, n);
            PyObject *r = data == NULL ? NULL : PyObject_CallMethodOneArg(loop, an_st->s__process_self_data, data);
            Py_XDECREF(data);
            Py_XDECREF(r);
            return r == NULL ? -1 : 0;
        }
    }
    return 0;
}

/* 1 if HANDLE is the one that asyncio made for its own wake-up pipe */
static int
is_wakeup_reader(PyObject *handle, PyObject *loop)
{
    if (!PyObject_TypeCheck(handle, (PyTypeObject *)an_st->o_Handle)) {
        return 0;
    }
    PyObject *cb = AN_HSLOT(handle, callback);
    return cb != NULL && PyMethod_Check(cb) && PyMethod_GET_FUNCTION(cb) == an_st->stock_read_from_self &&
           PyMethod_GET_SELF(cb) == loop;
}

static int
process_event(an_loop *rec, PyObject *loop, const struct epoll_event *ev)
{
    an_state *st = an_st;
    PyObject *fd = PyLong_FromLong(ev->data.fd), *key;
    if (fd == NULL) {
        return -1;
    }
    if (rec->fdmap == NULL) {
        Py_DECREF(fd);
        return 0;
    }
    int found = PyDict_GetItemRef(rec->fdmap, fd, &key);
    Py_DECREF(fd);
    if (found <= 0) {
        return found;
    }
    int rc = -1;
    /* SelectorKey(fileobj, fd, events, data=(reader, writer)) */
    if (!PyTuple_Check(key) || PyTuple_GET_SIZE(key) != 4) {
        PyErr_SetString(PyExc_RuntimeError, "the loop's selector holds something that is no SelectorKey");
        goto done;
    }
    PyObject *fileobj = PyTuple_GET_ITEM(key, 0), *data = PyTuple_GET_ITEM(key, 3);
    long want = PyLong_AsLong(PyTuple_GET_ITEM(key, 2));
    if (!PyTuple_Check(data) || PyTuple_GET_SIZE(data) != 2) {
        PyErr_SetString(PyExc_RuntimeError, "the loop's selector holds a key that asyncio did not make");
        goto done;
    }
    PyObject *reader = Py_NewRef(PyTuple_GET_ITEM(data, 0)), *writer = Py_NewRef(PyTuple_GET_ITEM(data, 1));
    rc = 0;
    if (ev->data.fd == rec->wake_fd && !rec->debug && is_wakeup_reader(reader, loop)) {
        rc = drain_wakeups(rec, loop);
        Py_DECREF(reader);
        Py_DECREF(writer);
        goto done;
    }
    /* EVENT_READ 1, EVENT_WRITE 2; hang-ups and errors wake both sides, as in EpollSelector.select */
    if ((ev->events & ~(uint32_t)EPOLLOUT) && (want & 1)) {
        rc = add_io_handle(rec, loop, fileobj, reader, st->s__remove_reader);
    }
    if (rc == 0 && (ev->events & ~(uint32_t)EPOLLIN) && (want & 2)) {
        rc = add_io_handle(rec, loop, fileobj, writer, st->s__remove_writer);
    }
    Py_DECREF(reader);
    Py_DECREF(writer);
done:
    Py_DECREF(key);
    return rc;
}

static AN_NOINLINE int
poll_epoll(an_loop *rec, PyObject *loop, double timeout)
{
    Py_ssize_t nfds = PyDict_GET_SIZE(rec->fdmap);
    if (nfds > rec->evcap || rec->evbuf == NULL) {
        int cap = nfds < 16 ? 16 : (int)nfds * 2;
        void *buf = PyMem_Realloc(rec->evbuf, (size_t)cap * sizeof(struct epoll_event));
        if (buf == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        rec->evbuf = buf;
        rec->evcap = cap;
    }
    int max = nfds > 0 ? (int)nfds : 1, n, err;
    int epfd = rec->epfd;
    struct epoll_event *buf = rec->evbuf;
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
    if (n < 0) {
        if (err == EINTR) {
            return PyErr_CheckSignals();
        }
        errno = err;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    /* events are handled in Python's sight: keep the buffer to ourselves meanwhile */
    int cap = rec->evcap, rc = 0;
    rec->evbuf = NULL;
    rec->evcap = 0;
    for (int i = 0; i < n && rc == 0; i++) {
        rc = process_event(rec, loop, &buf[i]);
    }
    if (rec->evbuf == NULL) {
        rec->evbuf = buf;
        rec->evcap = cap;
    }
    else {
        PyMem_Free(buf);
    }
    return rc;
}

#endif

int
an_loop_poll(an_loop *rec, PyObject *loop, int wait)
{
    double timeout;
    if (AN_UNLIKELY(PyList_GET_SIZE(rec->scheduled) > 0) && purge_timers(rec) < 0) {
        return -1;
    }
    if (compute_timeout(rec, loop, &timeout) < 0) {
        return -1;
    }
    if (!wait) {
        timeout = 0.0;
    }
    PyObject *selector = PyObject_GetAttr(loop, an_st->s__selector);
    if (selector == NULL) {
        return -1;
    }
    if (AN_UNLIKELY(selector != rec->selector) && look_at_selector(rec, loop, selector) < 0) {
        Py_DECREF(selector);
        return -1;
    }
    Py_DECREF(selector);
    int rc;
#ifdef __linux__
    if (AN_LIKELY(rec->epfd >= 0)) {
        if (timeout == 0.0 && rec->polls_skipped % AN_POLL_SKIP_MAX != AN_POLL_SKIP_MAX - 1 && rec->ready.len > 0 &&
            PyDict_GET_SIZE(rec->fdmap) <= rec->internal_fds &&
            (rec->sighandlers == NULL || PyDict_GET_SIZE(rec->sighandlers) == 0)) {
            /* nothing but the loop's own wake-up pipe could be ready, and there is work: what other threads added is in
             * the queue already */
            rec->polls_skipped++;
            rc = 0;
        }
        else {
            rc = poll_epoll(rec, loop, timeout);
        }
    }
    else
#endif
    {
        rc = poll_python(rec, loop, timeout);
    }
    if (rc < 0 || collect_timers(rec, loop) < 0) {
        return -1;
    }
    rec->todo = (Py_ssize_t)rec->ready.len;
    rec->inplace = 0;
    return 0;
}

/* ---- one handle -------------------------------------------------------------------------------------------------- */

static AN_NOINLINE int
run_debug(an_loop *rec, PyObject *loop, PyObject *h)
{
    double t0, t1, limit;
    PyObject *before = rec->current_handle;
    long long slept = an_thread_slept_ns();
    if (an_loop_time(rec, loop, &t0) < 0) {
        return -1;
    }
    rec->current_handle = Py_NewRef(h);
    if (PyObject_SetAttr(loop, an_st->s__current_handle, h) < 0) {
        return -1;
    }
    int rc = an_handle_run(h);
    PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
    Py_XSETREF(rec->current_handle, before);
    if (PyObject_SetAttr(loop, an_st->s__current_handle, Py_None) < 0) {
        PyErr_WriteUnraisable(loop);
    }
    if (rc < 0) {
        PyErr_SetRaisedException(exc);
        return rc;
    }
    if (an_loop_time(rec, loop, &t1) < 0) {
        return -1;
    }
    double dt = t1 - t0 - (double)(an_thread_slept_ns() - slept) * 1e-9;
    PyObject *v = PyObject_GetAttr(loop, an_st->s_slow_callback_duration);
    if (v == NULL) {
        return -1;
    }
    limit = PyFloat_AsDouble(v);
    Py_DECREF(v);
    if (limit == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (dt >= limit && an_st->h_slow_callback != NULL) {
        v = PyObject_CallFunction(an_st->h_slow_callback, "Od", h, dt);
        Py_XDECREF(v);
        return v == NULL ? -1 : 0;
    }
    return 0;
}

int
an_loop_step(an_loop *rec, PyObject *loop, PyObject **due)
{
    if (rec->todo <= 0) {
        return 0;
    }
    rec->todo--;
    PyObject *h = an_ring_pop(&rec->ready);
    if (h == NULL) {
        rec->todo = 0;
        return 0;
    }
    int rc = an_handle_cancelled(h);
    if (AN_LIKELY(rc == 0)) {
        if (AN_UNLIKELY(rec->debug)) {
            rc = run_debug(rec, loop, h);
        }
        else if (due != NULL && an_handle_is_plain(h) && Py_IS_TYPE(AN_HSLOT(h, callback), (PyTypeObject *)an_st->type_block)) {
            *due = Py_NewRef(AN_HSLOT(h, callback));
        }
        else {
            rc = an_handle_run(h);
        }
    }
    else if (rc > 0) {
        rc = 0;
    }
    if (AN_UNLIKELY(rc < 0)) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_DECREF(h);
        PyErr_SetRaisedException(exc);
        return -1;
    }
    Py_DECREF(h);
    return 1;
}

/* ---- type --------------------------------------------------------------------------------------------------------- */

static PyType_Slot loop_slots[] = {
    {Py_tp_dealloc, loop_dealloc},
    {Py_tp_traverse, loop_traverse},
    {Py_tp_clear, loop_clear},
    {Py_tp_methods, an_ready_methods},
    {Py_tp_iter, an_ready_iter},
    {Py_tp_repr, an_ready_repr},
    {Py_tp_richcompare, an_ready_richcompare},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_sq_length, an_ready_len},
    {Py_sq_item, an_ready_item},
    {Py_sq_contains, an_ready_contains},
    {Py_tp_doc, "The handles that an event loop has to run, oldest first, with the methods of collections.deque."},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "aionest._core.ReadyQueue",
    .basicsize = sizeof(an_loop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = loop_slots,
};

int
an_loop_init(PyObject *module)
{
    an_state *st = an_st;
    const struct {
        PyObject *cls, *name, **to;
    } table[] = {
        {st->o_BaseEventLoop, st->s_call_soon, &st->stock_call_soon},
        {st->o_BaseEventLoop, st->s_call_at, &st->stock_call_at},
        {st->o_BaseEventLoop, st->s_call_later, &st->stock_call_later},
        {st->o_BaseEventLoop, st->s_call_soon_threadsafe, &st->stock_call_soon_threadsafe},
        {st->o_BaseEventLoop, st->s_create_task, &st->stock_create_task},
        {st->o_BaseEventLoop, st->s__run_once, &st->stock_run_once},
        {st->o_BaseEventLoop, st->s_time, &st->stock_time},
        {st->o_BaseEventLoop, st->s__timer_handle_cancelled, &st->stock_timer_handle_cancelled},
        {st->o_BaseEventLoop, st->s__check_closed, &st->stock_check_closed},
        {st->o_BaseEventLoop, st->s__call_soon, &st->stock__call_soon},
        {st->o_BaseEventLoop, st->s_get_debug, &st->stock_get_debug},
        {st->o_BaseSelectorEventLoop, st->s__process_events, &st->stock_process_events},
        {st->o_BaseSelectorEventLoop, st->s__write_to_self, &st->stock_write_to_self},
        {st->o_BaseSelectorEventLoop, st->s__read_from_self, &st->stock_read_from_self},
        {st->o_SocketTransport, st->s__read_ready__data_received, &st->o_data_received_ready},
        {st->o_LoopBoundMixin, st->s__get_loop, &st->stock_get_loop},
        {st->o_SocketTransport, st->s_write, &st->o_transport_write},
        {st->o_SocketTransport, st->s_max_size, &st->o_max_size},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(table); i++) {
        if ((*table[i].to = PyObject_GetAttr(table[i].cls, table[i].name)) == NULL) {
            return -1;
        }
    }
    st->type_loop = PyType_FromSpec(&loop_spec);
    if (st->type_loop == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "ReadyQueue", st->type_loop);
}
