#include "loop.h"
#include "err.h"
#include "handle.h"
#include "kqueue.h"
#include "overrides.h"
#include "poll.h"
#include "ready.h"
#include "thread.h"

#include <stddef.h>

/* ---- the record ------------------------------------------------------------ */

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
    Py_VISIT(rec->own_ready);
    Py_VISIT(rec->own_scheduled);
    Py_VISIT(rec->current_handle);
    Py_VISIT(rec->selector);
    Py_VISIT(rec->selector_dict);
    Py_VISIT(rec->fdmap);
    Py_VISIT(rec->sighandlers);
    Py_VISIT(rec->guest);
    Py_VISIT(rec->outer);
    Py_VISIT(rec->context);
    Py_VISIT(rec->queue);
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
    an_relay_flush(&rec->relay);
    Py_CLEAR(rec->loop_ref);
    /* the list stays: finalizers that run later in the same collection may still come here by the loop */
    if (rec->scheduled != NULL && PyList_SetSlice(rec->scheduled, 0, PY_SSIZE_T_MAX, NULL) < 0) {
        PyErr_Clear();
    }
    Py_CLEAR(rec->own_ready);
    Py_CLEAR(rec->own_scheduled);
    Py_CLEAR(rec->current_handle);
    Py_CLEAR(rec->selector);
    Py_CLEAR(rec->selector_dict);
    Py_CLEAR(rec->fdmap);
    Py_CLEAR(rec->sighandlers);
    Py_CLEAR(rec->guest);
    Py_CLEAR(rec->outer);
    Py_CLEAR(rec->context);
    rec->batch = NULL;
    Py_CLEAR(rec->queue);
    Py_CLEAR(rec->stop_waiters);
    rec->pollfd = -1;
    return 0;
}

static void
loop_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    unlink_record((an_loop *)self);
    (void)loop_clear(self);
    Py_CLEAR(((an_loop *)self)->scheduled);
    an_relay_clear(&((an_loop *)self)->relay);
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
    int rc = v == NULL ? 0 : an_loop_set_scheduled(rec, v);
    Py_XDECREF(v);
    v = rc < 0 || PyErr_Occurred() ? NULL : take_over(dict, st->s__ready);
    rc = v == NULL ? 0 : an_loop_set_ready(rec, v);
    Py_XDECREF(v);
    return rc < 0 || PyErr_Occurred() ? -1 : 0;
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

/* 1 if aionest wraps the callbacks of LOOP's class: its run_forever is not ours. 0 | -1+exc */
static int
is_foreign(PyObject *loop)
{
    PyObject *f;
    int found = PyObject_GetOptionalAttr((PyObject *)Py_TYPE(loop), an_st->s_call_soon, &f);
    if (found <= 0) {
        return found;
    }
    int r = Py_IS_TYPE(f, (PyTypeObject *)an_st->type_foreign_method);
    Py_DECREF(f);
    return r;
}

static an_loop *
make_record(PyObject *loop, int foreign)
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
        rec->pollfd = rec->wake_fd = rec->eventfd = -1;
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
    rec->foreign = foreign;
    rec->inflight = !foreign && runs_already(dict);
    PyObject *ref = PyWeakref_NewRef(loop, NULL);
    if (ref == NULL) {
        goto fail;
    }
    Py_XSETREF(rec->loop_ref, ref);
    if ((PyObject_TypeCheck(loop, (PyTypeObject *)st->o_BaseEventLoop) && take_all(rec, dict) < 0) ||
        PyDict_SetItem(dict, st->s__aionest, (PyObject *)rec) < 0) {
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
an_loop_of(an_loop *rec)
{
    PyObject *loop = rec->loop_ref == NULL ? Py_None : ((PyWeakReference *)rec->loop_ref)->wr_object;
    return loop != Py_None && Py_REFCNT(loop) > 0 ? Py_NewRef(loop) : NULL;
}

PyObject *
an_loop_all(void)
{
    PyObject *list = PyList_New(0);
    for (an_loop *rec = all_records; list != NULL && rec != NULL; rec = rec->next) {
        PyObject *loop = an_loop_of(rec);
        if (loop != NULL && PyList_Append(list, loop) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(loop);
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
    if (!PyObject_TypeCheck(loop, (PyTypeObject *)st->o_BaseEventLoop)) {
        int removed = PyDict_DelItem(dict, st->s__aionest);
        forget(rec);
        Py_DECREF(dict);
        return removed;
    }
    PyObject *count = PyLong_FromSsize_t(rec->timer_cancelled_count);
    PyObject *ready = rec->own_ready != NULL ? rec->own_ready : (PyObject *)rec;
    int r =
        count == NULL || PyDict_SetItem(dict, st->s__ready, ready) < 0 ||
                PyDict_SetItem(dict, st->s__scheduled, rec->own_scheduled != NULL ? rec->own_scheduled : rec->scheduled) < 0 ||
                PyDict_SetItem(dict, st->s__closed, rec->closed ? Py_True : Py_False) < 0 ||
                PyDict_SetItem(dict, st->s__debug, rec->debug ? Py_True : Py_False) < 0 ||
                PyDict_SetItem(dict, st->s__stopping, rec->stopping ? Py_True : Py_False) < 0 ||
                PyDict_SetItem(dict, st->s__timer_cancelled_count, count) < 0 || PyDict_DelItem(dict, st->s__aionest) < 0
            ? -1
            : 0;
    forget(rec);
    Py_XDECREF(count);
    Py_DECREF(dict);
    return r;
}

static inline an_loop *
cached(PyObject *loop)
{
    an_state *st = an_st;
    return loop == st->cache_loop && loop != NULL && is_record_of(st->cache_rec, loop) ? st->cache_rec : NULL;
}

/* LOOP's record, borrowed | NULL there is none | NULL+exc its class's own __getattribute__ has failed */
static an_loop *
find_record(PyObject *loop)
{
    an_state *st = an_st;
    if (loop == NULL || !PyObject_TypeCheck(loop, (PyTypeObject *)st->o_AbstractEventLoop)) {
        return NULL;
    }
    PyObject *v;
    if (PyObject_GetOptionalAttr(loop, st->s__aionest, &v) <= 0) {
        return NULL;
    }
    if (!Py_IS_TYPE(v, (PyTypeObject *)st->type_loop)) {
        Py_DECREF(v);
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
an_loop_peek(PyObject *loop)
{
    an_loop *rec = cached(loop);
    if (AN_LIKELY(rec != NULL)) {
        return rec;
    }
    PyObject *exc = PyErr_GetRaisedException();
    rec = find_record(loop);
    PyErr_SetRaisedException(exc); /* (in place of what has failed) */
    return rec;
}

an_loop *
an_loop_get(PyObject *loop)
{
    an_loop *rec = cached(loop);
    if (AN_LIKELY(rec != NULL)) {
        return rec;
    }
    PyObject *exc = PyErr_GetRaisedException();
    rec = find_record(loop);
    if (rec == NULL && PyErr_Occurred()) { /* it may have one: two would be two queues */
        Py_XDECREF(exc);
        return NULL;
    }
    PyErr_SetRaisedException(exc);
    if (rec != NULL) {
        return rec;
    }
    int foreign = is_foreign(loop);
    if (foreign < 0 || (foreign == 0 && !PyObject_TypeCheck(loop, (PyTypeObject *)an_st->o_BaseEventLoop))) {
        if (foreign == 0) {
            an_err_foreign_loop(loop, "the methods of its class cannot be replaced");
        }
        return NULL;
    }
    if (make_record(loop, foreign) == NULL) {
        return NULL;
    }
    rec = find_record(loop);
    if (rec == NULL && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_RuntimeError, "the event loop's class hides an attribute that aionest has set");
    }
    return rec;
}

/* ---- one handle ------------------------------------------------------------ */

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
    int rc = PyObject_SetAttr(loop, an_st->s__current_handle, h);
    if (rc == 0) {
        rc = an_handle_run(h);
    }
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
    PyObject *h = an_loop_pop(rec);
    if (AN_UNLIKELY(h == NULL)) {
        rec->todo = 0;
        return PyErr_Occurred() ? -1 : 0;
    }
    int rc = an_handle_cancelled(h);
    if (AN_LIKELY(rc == 0)) {
        if (AN_UNLIKELY(rec->debug)) {
            rc = run_debug(rec, loop, h);
        }
        else if (due != NULL && an_handle_is_plain(h) && AN_HSLOT(h, callback) != NULL &&
                 Py_IS_TYPE(AN_HSLOT(h, callback), (PyTypeObject *)an_st->type_block)) {
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

/* ---- type ------------------------------------------------------------ */

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
    {Py_sq_ass_item, an_ready_assign},
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
#if AN_KQUEUE
    int polls = an_kqueue_init();
    if (polls < 0) {
        return -1;
    }
#else
    int polls = AN_LINUX;
#endif
    if (!polls) {
        Py_CLEAR(st->o_PolledSelector); /* every selector is asked by its select() */
    }
    if (st->o_PolledSelector != NULL && (st->stock_select = PyObject_GetAttr(st->o_PolledSelector, st->s_select)) == NULL) {
        return -1;
    }
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
