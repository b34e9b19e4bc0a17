#include "sched.h"
#include "err.h"
#include "handle.h"
#include "heap.h"
#include "overrides.h"
#include "poll.h"
#include "ready.h"
#include "waking.h"

/* The one keyword is `context`. *CONTEXT is borrowed or NULL. 0 | 1 something else: let asyncio's function complain */
static inline int
parse(PyObject *const *args, Py_ssize_t nargs, Py_ssize_t min, PyObject *kwnames, PyObject **context)
{
    *context = NULL;
    if (AN_UNLIKELY(nargs < min)) {
        return 1;
    }
    if (kwnames == NULL) {
        return 0;
    }
    Py_ssize_t nk = PyTuple_GET_SIZE(kwnames);
    if (nk == 0) {
        return 0;
    }
    PyObject *k = PyTuple_GET_ITEM(kwnames, 0);
    if (nk != 1) {
        return 1;
    }
    if (k != an_st->s_context && k != an_st->context_alias) {
        /* _asyncio has a "context" of its own that is not interned: remember it */
        if (PyUnicode_Compare(k, an_st->s_context) != 0) {
            return 1;
        }
        Py_XSETREF(an_st->context_alias, Py_NewRef(k));
    }
    *context = args[nargs];
    return 0;
}

AN_NOINLINE PyObject *
an_sched_stock(PyObject *f, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t n = nargs + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject **v = PyMem_New(PyObject *, (size_t)n + 1);
    if (v == NULL) {
        return PyErr_NoMemory();
    }
    v[0] = self;
    for (Py_ssize_t i = 0; i < n; i++) {
        v[i + 1] = args[i];
    }
    PyObject *r = PyObject_Vectorcall(f, v, (size_t)(nargs + 1), kwnames);
    PyMem_Free(v);
    return r;
}

static inline void
kick_guest(an_loop *rec)
{
    if (AN_UNLIKELY(rec->guest != NULL)) {
        PyObject *r = PyObject_CallMethodNoArgs(rec->guest, an_st->s_kick);
        if (r == NULL) {
            PyErr_WriteUnraisable(rec->guest);
        }
        Py_XDECREF(r);
    }
}

void (*an_sched_not_queued)(PyObject *callback) = NULL;

static AN_NOINLINE PyObject *
not_queued(PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs > 0 && an_sched_not_queued != NULL) {
        an_sched_not_queued(args[0]);
    }
    return NULL;
}

/* What the loop's own call_soon() makes. new ref | NULL+exc, and it is queued nowhere */
static inline PyObject *
soon(an_loop *rec, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    if (AN_UNLIKELY(parse(args, nargs, 1, kwnames, &context) || rec->closed || rec->debug ||
                    (rec->overrides & AN_OVR_CALL_SOON))) {
        int was = PyGC_Disable(); /* Python code: garbage is collected amid it on every version */
        PyObject *h = an_sched_stock(an_st->stock_call_soon, self, args, nargs, kwnames);
        if (was) {
            PyGC_Enable();
        }
        return h;
    }
    PyObject *h = an_handle_new(self, args[0], args + 1, nargs - 1, context);
    if (h != NULL && AN_UNLIKELY(an_ring_push(&rec->ready, h) < 0)) {
        Py_CLEAR(h);
    }
    return h;
}

/* A future that is done calls it for each of its callbacks, out of a list that it does not hold on to: what a finalizer nests
 * amid this may remove some. */
static PyObject *
call_soon(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int was = AN_COLLECTOR_OFF();
    an_loop *rec = an_loop_get(self);
    PyObject *h = NULL;
    if (AN_LIKELY(rec != NULL && an_loop_keep_up(rec, self) == 0)) {
        h = soon(rec, self, args, nargs, kwnames);
    }
    AN_COLLECTOR_BACK(was);
    if (AN_UNLIKELY(h == NULL)) {
        return not_queued(args, nargs);
    }
    kick_guest(rec);
    return h;
}

int
an_sched_soon(an_loop *rec, PyObject *loop, PyObject *callback, PyObject *arg, PyObject *context)
{
    if (AN_UNLIKELY(rec->foreign)) { /* its queue is its own */
        PyObject *args[4] = {loop, callback, arg == NULL ? context : arg, context};
        PyObject *handle = PyObject_VectorcallMethod(an_st->s_call_soon, args, arg == NULL ? 2 : 3, an_st->kw_context);
        Py_XDECREF(handle);
        return handle == NULL ? -1 : 0;
    }
    PyObject *h = an_handle_new(loop, callback, &arg, arg == NULL ? 0 : 1, context);
    if (h == NULL) {
        return -1;
    }
    int r = an_loop_push(rec, h);
    Py_DECREF(h);
    if (r == 0) {
        kick_guest(rec);
    }
    return r;
}

/* Since 3.14 a handle of call_soon_threadsafe has a lock: cancelling it from another thread waits for a callback that runs
 * at the moment. asyncio's own class does that. */
static PyObject *
threadsafe_handle(PyObject *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    if (an_st->o_ThreadSafeHandle == NULL) {
        return an_handle_new(loop, callback, args, nargs, context);
    }
    PyObject *tuple = PyTuple_New(nargs);
    if (tuple == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    }
    PyObject *v[4] = {callback, tuple, loop, context == NULL ? Py_None : context};
    PyObject *h = PyObject_Vectorcall(an_st->o_ThreadSafeHandle, v, 4, NULL);
    Py_DECREF(tuple);
    return h;
}

static PyObject *
call_soon_threadsafe(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || an_loop_keep_up(rec, self) < 0) {
        return NULL;
    }
    if (AN_UNLIKELY(parse(args, nargs, 1, kwnames, &context) || rec->closed || rec->debug ||
                    (rec->overrides & AN_OVR_CALL_SOON))) {
        return an_sched_stock(an_st->stock_call_soon_threadsafe, self, args, nargs, kwnames);
    }
    PyObject *h = threadsafe_handle(self, args[0], args + 1, nargs - 1, context);
    if (AN_UNLIKELY(h != NULL && (rec->closed || (rec->overrides & AN_OVR_CALL_SOON)))) {
        /* making it has run Python, and the loop's thread has closed the loop meanwhile */
        Py_DECREF(h);
        return an_sched_stock(an_st->stock_call_soon_threadsafe, self, args, nargs, kwnames);
    }
    if (h != NULL && an_ring_push(&rec->ready, h) < 0) {
        Py_CLEAR(h);
    }
    PyObject *r = h == NULL ? NULL : an_waking_wake(rec, self);
    if (r == NULL) {
        Py_CLEAR(h);
        return NULL;
    }
    Py_DECREF(r);
    return h;
}

/* H, a timer that is whole, goes into the heap. Steals H, returns it | NULL+exc */
static PyObject *
push_timer(an_loop *rec, PyObject *h)
{
    *(long long *)((char *)h + an_hl.seq) = rec->seq++;
    /* first: amid a comparison by Python code it may be taken out again, as it is due */
    Py_XSETREF(AN_HSLOT(h, scheduled), Py_NewRef(Py_True));
    if (AN_UNLIKELY(an_heap_push(rec, h) < 0)) {
        Py_XSETREF(AN_HSLOT(h, scheduled), Py_NewRef(Py_False));
        Py_DECREF(h);
        return NULL;
    }
    kick_guest(rec);
    return h;
}

static PyObject *
timer_at(an_loop *rec, PyObject *self, PyObject *when, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    PyObject *w;
    if (PyFloat_CheckExact(when)) {
        w = Py_NewRef(when);
    }
    else {
        w = PyLong_CheckExact(when) ? PyNumber_Float(when) : Py_NewRef(when);
    }
    PyObject *h = w == NULL ? NULL : an_timer_new(w, self, args[0], args + 1, nargs - 1, context);
    Py_XDECREF(w);
    if (h == NULL) {
        return NULL;
    }
    if (w != when && PyLong_CheckExact(when)) {
        Py_SETREF(AN_HSLOT(h, when), Py_NewRef(when)); /* as given: asyncio shows an int as an int */
    }
    return push_timer(rec, h);
}

/* As asyncio's own call_at, which asks the loop's methods and makes the timer by its class, but with our timer and our heap:
 * heapq compares asyncio's timers by Python code, and a finalizer that nests in there would find a heap half sorted. */
static PyObject *
timer_checked(an_loop *rec, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    an_state *st = an_st;
    PyObject *r = PyObject_CallMethodNoArgs(self, st->s__check_closed);
    Py_XDECREF(r);
    if (r != NULL && rec->debug) {
        r = PyObject_CallMethodNoArgs(self, st->s__check_thread);
        Py_XDECREF(r);
        if (r != NULL) {
            PyObject *v[3] = {self, args[1], st->s_call_at};
            r = PyObject_VectorcallMethod(st->s__check_callback, v, 3, NULL);
            Py_XDECREF(r);
        }
    }
    PyObject *tuple = r == NULL ? NULL : PyTuple_New(nargs - 2);
    if (tuple == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 2; i < nargs; i++) {
        PyTuple_SET_ITEM(tuple, i - 2, Py_NewRef(args[i]));
    }
    PyObject *v[5] = {args[0], args[1], tuple, self, context == NULL ? Py_None : context};
    PyObject *h = PyObject_Vectorcall(st->type_timer, v, 5, NULL);
    Py_DECREF(tuple);
    return h == NULL ? NULL : push_timer(rec, h);
}

static PyObject *
call_at(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || an_loop_keep_up(rec, self) < 0) {
        return NULL;
    }
    if (AN_UNLIKELY(parse(args, nargs, 2, kwnames, &context) || args[0] == Py_None || rec->own_scheduled != NULL)) {
        PyObject *r = an_sched_stock(an_st->stock_call_at, self, args, nargs, kwnames);
        if (r != NULL) {
            kick_guest(rec);
        }
        return r;
    }
    if (AN_UNLIKELY(rec->closed || rec->debug || (rec->overrides & AN_OVR_CALL_SOON))) {
        return timer_checked(rec, self, args, nargs, context);
    }
    return timer_at(rec, self, args[0], args + 1, nargs - 1, context);
}

static PyObject *
call_later(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || an_loop_keep_up(rec, self) < 0) {
        return NULL;
    }
    if (AN_UNLIKELY(parse(args, nargs, 2, kwnames, &context) || args[0] == Py_None || rec->closed || rec->debug ||
                    (rec->overrides & (AN_OVR_CALL_SOON | AN_OVR_CALL_AT | AN_OVR_TIME)) || !an_clock_is_stock())) {
        return an_sched_stock(an_st->stock_call_later, self, args, nargs, kwnames);
    }
    PyObject *when;
    if (PyFloat_CheckExact(args[0])) {
        when = PyFloat_FromDouble(an_loop_now() + PyFloat_AS_DOUBLE(args[0]));
    }
    else {
        PyObject *now = PyFloat_FromDouble(an_loop_now());
        when = now == NULL ? NULL : PyNumber_Add(now, args[0]);
        Py_XDECREF(now);
    }
    if (when == NULL) {
        return NULL;
    }
    PyObject *h = timer_at(rec, self, when, args + 1, nargs - 1, context);
    Py_DECREF(when);
    return h;
}

static PyObject *
loop_time(PyObject *self, PyObject *noargs)
{
    return AN_LIKELY(an_clock_is_stock()) ? PyFloat_FromDouble(an_loop_now()) : PyObject_CallOneArg(an_st->stock_time, self);
}

static PyObject *
timer_handle_cancelled(PyObject *self, PyObject *handle)
{
    an_loop *rec = an_loop_get(self);
    if (rec == NULL) {
        return NULL;
    }
    PyObject *s = PyObject_GetAttrString(handle, "_scheduled");
    int r = s == NULL ? -1 : PyObject_IsTrue(s);
    Py_XDECREF(s);
    if (r < 0) {
        return NULL;
    }
    rec->timer_cancelled_count += r;
    Py_RETURN_NONE;
}

/* Each new future and task asks. */
static PyObject *
loop_get_debug(PyObject *self, PyObject *noargs)
{
    an_loop *rec = an_loop_get(self);
    return rec == NULL ? NULL : PyBool_FromLong(rec->debug);
}

static PyObject *
loop_stop(PyObject *self, PyObject *noargs)
{
    an_loop *rec = an_loop_get(self);
    if (rec == NULL) {
        return NULL;
    }
    /* Who asks? asyncio's own done callback of run_until_complete, or the user. Only the latter ends suspended runs. */
    int why = AN_STOP_USER;
    PyFrameObject *f = PyEval_GetFrame();
    if (f != NULL) {
        PyObject *code = (PyObject *)PyFrame_GetCode(f);
        if (code == PyFunction_GetCode(an_st->o_run_until_complete_cb)) {
            why = AN_STOP_DONE;
        }
        Py_DECREF(code);
    }
    if (why == AN_STOP_USER && rec->stop_waiters != NULL && PyList_GET_SIZE(rec->stop_waiters) > 0 &&
        an_st->h_stop_owner != NULL) {
        /* one of the nested run_forever calls may be the one that is meant: several may be stopped in one iteration */
        PyObject *r = PyObject_CallOneArg(an_st->h_stop_owner, rec->stop_waiters);
        int found = r == NULL ? -1 : PyObject_IsTrue(r);
        Py_XDECREF(r);
        if (found < 0) {
            return NULL;
        }
        if (found) {
            Py_RETURN_NONE;
        }
    }
    if (rec->stopping != AN_STOP_USER) {
        rec->stopping = why;
    }
    kick_guest(rec);
    Py_RETURN_NONE;
}

/* ---- module ------------------------------------------------------------ */

#define FAST(f) (PyCFunction)(void (*)(void)) f, METH_FASTCALL | METH_KEYWORDS

PyMethodDef an_sched_call_soon = {"call_soon", FAST(call_soon),
                                  "call_soon($self, callback, *args, context=None)\n--\n\nSee asyncio.loop.call_soon."};

PyMethodDef an_sched_methods[] = {
    {"call_soon_threadsafe", FAST(call_soon_threadsafe),
     "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\nSee asyncio.loop.call_soon_threadsafe."},
    {"call_at", FAST(call_at), "call_at($self, when, callback, *args, context=None)\n--\n\nSee asyncio.loop.call_at."},
    {"call_later", FAST(call_later),
     "call_later($self, delay, callback, *args, context=None)\n--\n\nSee asyncio.loop.call_later."},
    {"get_debug", loop_get_debug, METH_NOARGS, "get_debug($self, /)\n--\n\nSee asyncio.loop.get_debug."},
    {"time", loop_time, METH_NOARGS, "time($self, /)\n--\n\nSee asyncio.loop.time."},
    {"stop", loop_stop, METH_NOARGS, "stop($self, /)\n--\n\nSee asyncio.loop.stop."},
    {"_timer_handle_cancelled", timer_handle_cancelled, METH_O,
     "_timer_handle_cancelled($self, handle, /)\n--\n\nCount a cancelled timer that is still in the heap."},
    {NULL, NULL, 0, NULL},
};
