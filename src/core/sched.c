/* sched.c - BaseEventLoop's methods that put something in a queue, without a Python frame.       Level 4: loop, handle.
 *
 * Each does what asyncio's does when the loop is open, not in debug mode, and overrides none of the helpers; in every
 * other case, wrong arguments included, asyncio's own function is called, so its checks and messages are its own.
 *
 * Thread   call_soon_threadsafe from any with the GIL; the others as in asyncio
 */
#include "err.h"
#include "handle.h"
#include "loop.h"

#if AN_LINUX
#include <sched.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

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

/* asyncio's function with the very same arguments */
static AN_NOINLINE PyObject *
stock_call(PyObject *f, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

static PyObject *
call_soon(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    an_loop *rec = an_loop_get(self);
    if (AN_UNLIKELY(rec == NULL || an_loop_keep_up(rec, self) < 0)) {
        return not_queued(args, nargs);
    }
    if (AN_UNLIKELY(parse(args, nargs, 1, kwnames, &context) || rec->closed || rec->debug ||
                    (rec->overrides & AN_OVR_CALL_SOON))) {
        PyObject *r = stock_call(an_st->stock_call_soon, self, args, nargs, kwnames);
        if (r == NULL) {
            return not_queued(args, nargs);
        }
        kick_guest(rec);
        return r;
    }
    PyObject *h = an_handle_new(self, args[0], args + 1, nargs - 1, context);
    if (h != NULL && AN_UNLIKELY(an_ring_push(&rec->ready, h) < 0)) {
        Py_CLEAR(h);
    }
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

#if AN_LINUX

static an_waker
an_sched_waker(an_loop *rec)
{
    an_waker waker = {rec->eventfd, &rec->wakers};
    rec->woken = rec->sleeping;
    AN_COUNTER_ADD(waker.count, 1);
    return waker;
}

void
an_sched_wake(an_waker *waker)
{
    const uint64_t one = 1;
    if (waker->fd >= 0) {
        ssize_t n = write(waker->fd, &one, sizeof one); /* it is never read: full after 2^64 times */
        (void)n;
        AN_COUNTER_ADD(waker->count, -1);
    }
}

void
an_sched_set_eventfd(an_loop *rec, int fd)
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

void
an_sched_wake(an_waker *waker)
{
}

void
an_sched_set_eventfd(an_loop *rec, int fd)
{
}

#endif

/* Write the wake-up byte as BaseSelectorEventLoop._write_to_self does. Errors are none: the loop may be closing. */
static PyObject *
wake(an_loop *rec, PyObject *loop)
{
#if AN_LINUX
    if ((!(rec->overrides & AN_OVR_WRITE_TO_SELF) || rec->eventfd >= 0) && rec->epfd >= 0) {
        if (rec->carried && !(rec->overrides & AN_OVR_RUN_ONCE) && (!rec->sleeping || rec->woken)) {
            Py_RETURN_NONE; /* awake, and it looks at its queue before it sleeps; or woken already */
        }
        if (rec->eventfd >= 0) {
            an_waker waker = an_sched_waker(rec);
            Py_INCREF(rec);
            Py_BEGIN_ALLOW_THREADS
            an_sched_wake(&waker);
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
        return stock_call(an_st->stock_call_soon_threadsafe, self, args, nargs, kwnames);
    }
    PyObject *h = threadsafe_handle(self, args[0], args + 1, nargs - 1, context);
    if (AN_UNLIKELY(h != NULL && (rec->closed || (rec->overrides & AN_OVR_CALL_SOON)))) {
        /* making it has run Python, and the loop's thread has closed the loop meanwhile */
        Py_DECREF(h);
        return stock_call(an_st->stock_call_soon_threadsafe, self, args, nargs, kwnames);
    }
    if (h != NULL && an_ring_push(&rec->ready, h) < 0) {
        Py_CLEAR(h);
    }
    PyObject *r = h == NULL ? NULL : wake(rec, self);
    if (r == NULL) {
        Py_CLEAR(h);
        return NULL;
    }
    Py_DECREF(r);
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
    *(long long *)((char *)h + an_hl.seq) = rec->seq++;
    if (an_heap_push(rec, h) < 0) {
        Py_DECREF(h);
        return NULL;
    }
    Py_SETREF(AN_HSLOT(h, scheduled), Py_NewRef(Py_True));
    kick_guest(rec);
    return h;
}

static PyObject *
call_at(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || an_loop_keep_up(rec, self) < 0) {
        return NULL;
    }
    if (AN_UNLIKELY(parse(args, nargs, 2, kwnames, &context) || args[0] == Py_None || rec->closed || rec->debug ||
                    (rec->overrides & AN_OVR_CALL_SOON))) {
        PyObject *r = stock_call(an_st->stock_call_at, self, args, nargs, kwnames);
        if (r != NULL) {
            kick_guest(rec);
        }
        return r;
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
        return stock_call(an_st->stock_call_later, self, args, nargs, kwnames);
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

/* ---- create_task ------------------------------------------------------------ */

/* 0 | -1+exc; runs Python */
static int
set_task_name(PyObject *task, PyObject *name)
{
    PyObject *r, *v[2] = {task, name};
    if (AN_LIKELY(Py_IS_TYPE(task, (PyTypeObject *)an_st->o_CTask))) {
        r = PyObject_Vectorcall(an_st->task_set_name, v, 2, NULL);
    }
    else if (an_st->factory_style == AN_FACTORY_NAMED) {
        PyObject *set; /* before 3.13 what a factory made needs no names */
        int found = PyObject_GetOptionalAttr(task, an_st->s_set_name, &set);
        if (found <= 0) {
            return found < 0 || (AN_PY311 && PyErr_WarnEx(PyExc_DeprecationWarning,
                                                          "Task.set_name() was added in Python 3.8, the method support will "
                                                          "be mandatory for third-party task implementations since 3.13.",
                                                          1) < 0)
                       ? -1
                       : 0;
        }
        r = PyObject_CallOneArg(set, name);
        Py_DECREF(set);
    }
    else {
        r = PyObject_CallMethodOneArg(task, an_st->s_set_name, name);
    }
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* 1 if FACTORY is what asyncio.create_eager_task_factory(asyncio.Task) gives: asyncio.eager_task_factory, for one */
static int
makes_eager_tasks(PyObject *factory)
{
    if (an_st->eager_code == NULL || !PyFunction_Check(factory) || PyFunction_GetCode(factory) != an_st->eager_code) {
        return 0;
    }
    PyObject *closure = PyFunction_GetClosure(factory);
    return closure != NULL && PyTuple_GET_SIZE(closure) == 1 && PyCell_GET(PyTuple_GET_ITEM(closure, 0)) == an_st->o_CTask;
}

/* Dicts of keyword arguments for eager tasks, as in make_future() below. Eager tasks make eager tasks while they are being
 * made, so there are several. One that is in use is not in here; those that are refer to nothing but names and None. */
#define AN_EAGER_KWARGS 16
static PyObject *eager_kwargs[AN_EAGER_KWARGS];
static int n_eager_kwargs = 0;

/* new ref | NULL+exc */
static PyObject *
take_eager_kwargs(void)
{
    an_state *st = an_st;
    if (AN_LIKELY(n_eager_kwargs > 0)) {
        return eager_kwargs[--n_eager_kwargs];
    }
    PyObject *d = PyDict_New();
    if (d != NULL && (PyDict_SetItem(d, st->s_loop, Py_None) < 0 || PyDict_SetItem(d, st->s_name, Py_None) < 0 ||
                      PyDict_SetItem(d, st->s_context, Py_None) < 0 || PyDict_SetItem(d, st->s_eager_start, Py_True) < 0)) {
        Py_CLEAR(d);
    }
    return d;
}

/* D is stolen. Keeps the current exception. */
static void
put_eager_kwargs(PyObject *d, int named, int in_context)
{
    an_state *st = an_st;
    PyObject *exc = PyErr_GetRaisedException();
    if (PyDict_SetItem(d, st->s_loop, Py_None) < 0 || (named && PyDict_SetItem(d, st->s_name, Py_None) < 0) ||
        (in_context && PyDict_SetItem(d, st->s_context, Py_None) < 0) || Py_REFCNT(d) != 1 ||
        n_eager_kwargs == AN_EAGER_KWARGS) {
        PyErr_Clear();
        Py_DECREF(d);
    }
    else {
        eager_kwargs[n_eager_kwargs++] = d;
    }
    PyErr_SetRaisedException(exc);
}

/* _asyncio.Task(coro, loop=LOOP, name=NAME, context=CONTEXT, eager_start=True); NAME and CONTEXT may be None. new ref |
 * NULL+exc. MAY SWITCH: the task takes its first step */
static PyObject *
make_eager_task(PyObject *loop, PyObject *coro, PyObject *name, PyObject *context)
{
    an_state *st = an_st;
    PyTypeObject *tp = (PyTypeObject *)st->o_CTask;
    PyObject *args = PyTuple_New(1), *kwargs = args == NULL ? NULL : take_eager_kwargs(), *task = NULL;
    if (kwargs != NULL) {
        PyTuple_SET_ITEM(args, 0, Py_NewRef(coro));
        if (PyDict_SetItem(kwargs, st->s_loop, loop) == 0 &&
            (name == Py_None || PyDict_SetItem(kwargs, st->s_name, name) == 0) &&
            (context == Py_None || PyDict_SetItem(kwargs, st->s_context, context) == 0)) {
            task = tp->tp_new(tp, args, kwargs);
            if (task != NULL && tp->tp_init(task, args, kwargs) < 0) {
                Py_CLEAR(task);
            }
        }
        put_eager_kwargs(kwargs, name != Py_None, context != Py_None);
    }
    Py_XDECREF(args);
    return task;
}

/* loop.create_task(coro) of a loop with a task factory (the caller holds it), as this version's asyncio does it. NAME and
 * CONTEXT are NULL where they were not given; KWNAMES has those that were, VALUES theirs. new ref | NULL+exc; runs Python.
 * MAY SWITCH: an eager task takes its first step here */
static PyObject *
create_task_by(PyObject *factory, PyObject *self, PyObject *coro, PyObject *name, PyObject *context, PyObject *const *values,
               PyObject *kwnames)
{
    an_state *st = an_st;
    int handed_on = st->factory_style == AN_FACTORY_HANDED_ON;
    PyObject *task;
    if (makes_eager_tasks(factory)) {
        task = make_eager_task(self, coro, handed_on && name != NULL ? name : Py_None, context != NULL ? context : Py_None);
    }
    else {
        PyObject *v[4] = {self, coro};
        if (!handed_on) {
            v[2] = context;
            kwnames = context != NULL && context != Py_None ? st->kw_context : NULL;
        }
        else if (kwnames != NULL) {
            for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
                v[2 + i] = values[i]; /* two at most */
            }
        }
        task = PyObject_Vectorcall(factory, v, 2, kwnames);
    }
    name = name == NULL ? Py_None : name;
    if (task != NULL && !handed_on && (name != Py_None || st->factory_style == AN_FACTORY_ALWAYS_NAMED) &&
        set_task_name(task, name) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

static PyObject *
create_task(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    an_state *st = an_st;
    an_loop *rec = an_loop_get(self);
    if (rec == NULL) {
        return NULL;
    }
    Py_ssize_t nk = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    PyObject *factory = NULL, *v[4], *name = NULL, *context = NULL;
    int odd = nargs != 1 || rec->closed || rec->debug;
    for (Py_ssize_t i = 0; i < nk && !odd; i++) {
        PyObject *k = PyTuple_GET_ITEM(kwnames, i);
        if (k == st->s_name) {
            name = args[nargs + i];
        }
#if AN_PY311
        else if (k == st->s_context) {
            context = args[nargs + i];
        }
#endif
        else {
            odd = 1;
        }
    }
    if (!odd) {
        factory = PyObject_GetAttr(self, st->s__task_factory);
        if (factory == NULL) {
            return NULL;
        }
        if (factory != Py_None && st->factory_style != AN_FACTORY_UNKNOWN) {
            PyObject *t = create_task_by(factory, self, args[0], name, context, args + nargs, kwnames);
            Py_DECREF(factory);
            return t;
        }
        odd = factory != Py_None;
        Py_DECREF(factory);
    }
    if (odd) {
        return stock_call(st->stock_create_task, self, args, nargs, kwnames);
    }
    PyObject *type = PyDict_GetItemWithError(st->o_tasks_dict, st->s_Task);
    if (type == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_AttributeError, "module 'asyncio.tasks' has no attribute 'Task'");
        }
        return NULL;
    }
    v[0] = args[0];
    v[1] = self;
    v[2] = name != NULL ? name : Py_None;
    v[3] = context != NULL ? context : Py_None;
    Py_INCREF(type);
    PyObject *kw = context != NULL ? st->kw_task_context : name != NULL ? st->kw_task_name : st->kw_loop;
    PyObject *t = PyObject_Vectorcall(type, v, 1, kw);
    Py_DECREF(type);
    return t;
}

/* _asyncio.Future(loop=LOOP) as type_call does it, but with a dict of arguments that is kept: to make and drop one for each
 * future costs as much as the future. While it is in use (__init__ can run Python, and so come here again) it is not in its
 * place. new ref | NULL+exc */
static PyObject *
make_future(PyObject *loop)
{
    an_state *st = an_st;
    PyTypeObject *tp = (PyTypeObject *)st->o_CFuture;
    PyObject *kwargs = st->future_kwargs, *f = NULL;
    st->future_kwargs = NULL;
    if (kwargs == NULL && (kwargs = PyDict_New()) == NULL) {
        return NULL;
    }
    if (PyDict_SetItem(kwargs, st->s_loop, loop) == 0) {
        f = tp->tp_new(tp, st->empty_tuple, kwargs);
        if (f != NULL && tp->tp_init(f, st->empty_tuple, kwargs) < 0) {
            Py_CLEAR(f);
        }
    }
    if (f == NULL || PyDict_SetItem(kwargs, st->s_loop, Py_None) < 0) {
        Py_DECREF(kwargs); /* the next call makes a new one */
        Py_XDECREF(f);
        return NULL;
    }
    Py_XSETREF(st->future_kwargs, kwargs);
    return f;
}

static PyObject *
create_future(PyObject *self, PyObject *noargs)
{
    PyObject *type = PyDict_GetItemWithError(an_st->o_futures_dict, an_st->s_Future);
    if (type == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_AttributeError, "module 'asyncio.futures' has no attribute 'Future'");
        }
        return NULL;
    }
    Py_INCREF(type);
    PyObject *f = AN_LIKELY(type == an_st->o_CFuture) ? make_future(self) : PyObject_Vectorcall(type, &self, 0, an_st->kw_loop);
    Py_DECREF(type);
    return f;
}

PyObject *
an_sched_create_task(an_loop *rec, PyObject *loop, PyObject *coro)
{
    if (AN_UNLIKELY(rec->overrides & AN_OVR_CREATE_TASK)) {
        return PyObject_CallMethodOneArg(loop, an_st->s_create_task, coro);
    }
    return create_task(loop, &coro, 1, NULL);
}

/* Since 3.14 a task is listed with the thread that made it, and all_tasks() looks only at those of the loop's thread: there
 * work.start() makes it. 0 | -1+exc */
static int
queue_work(an_loop *rec, PyObject *loop, PyObject *coro, PyObject *work, PyObject *callback)
{
#if AN_PY314
    PyObject *start = PyObject_GetAttr(work, an_st->s_start);
    int rc = start == NULL ? -1 : an_sched_soon(rec, loop, start, NULL, NULL);
    Py_XDECREF(start);
    return rc;
#else
    PyObject *task = create_task(loop, &coro, 1, NULL);
    PyObject *r = task == NULL ? NULL : PyObject_CallMethodOneArg(task, an_st->s_add_done_callback, callback);
    int rc = r == NULL ? -1 : PyObject_SetAttr(work, an_st->s_task, task);
    Py_XDECREF(r);
    Py_XDECREF(task);
    return rc;
#endif
}

int
an_sched_from_thread(an_loop *rec, PyObject *loop, PyObject *coro, PyObject *work, PyObject *callback, an_waker *waker)
{
    waker->fd = -1;
    if (rec->eventfd < 0 || rec->epfd < 0 || !rec->carried || rec->closed || rec->debug || rec->guest != NULL ||
        (rec->overrides & (AN_OVR_CALL_SOON | AN_OVR_RUN_ONCE | AN_OVR_CREATE_TASK))) {
        return 0;
    }
    PyObject *factory = PyObject_GetAttr(loop, an_st->s__task_factory);
    Py_XDECREF(factory);
    if (factory != Py_None) {
        return factory == NULL ? -1 : 0;
    }
    if (queue_work(rec, loop, coro, work, callback) < 0) {
        return -1;
    }
#if AN_LINUX
    if (rec->sleeping && !rec->woken) {
        *waker = an_sched_waker(rec);
    }
#endif
    return 1;
}

/* Lock, Event, Queue and their like ask this each time they have to wait. */
static PyObject *
mixin_get_loop(PyObject *self, PyObject *noargs)
{
    PyObject *running = PyObject_CallNoArgs(an_st->o_get_running_loop), *bound;
    if (running == NULL) {
        return NULL;
    }
    if (running != Py_None && PyObject_GetOptionalAttr(self, an_st->s__loop, &bound) > 0) {
        Py_DECREF(bound);
        if (bound == running) {
            return running;
        }
    }
    Py_DECREF(running);
    return PyErr_Occurred() ? NULL : PyObject_CallOneArg(an_st->stock_get_loop, self);
}

PyMethodDef an_mixin_methods[] = {
    {"_get_loop", mixin_get_loop, METH_NOARGS, "_get_loop($self, /)\n--\n\nThe loop that this object is bound to."},
    {NULL, NULL, 0, NULL},
};

#define FAST(f) (PyCFunction)(void (*)(void)) f, METH_FASTCALL | METH_KEYWORDS

PyMethodDef an_sched_methods[] = {
    {"call_soon", FAST(call_soon), "call_soon($self, callback, /, *args, context=None)\n--\n\nSee asyncio.loop.call_soon."},
    {"call_soon_threadsafe", FAST(call_soon_threadsafe),
     "call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\nSee asyncio.loop.call_soon_threadsafe."},
    {"call_at", FAST(call_at), "call_at($self, when, callback, /, *args, context=None)\n--\n\nSee asyncio.loop.call_at."},
    {"call_later", FAST(call_later),
     "call_later($self, delay, callback, /, *args, context=None)\n--\n\nSee asyncio.loop.call_later."},
    {"create_task", FAST(create_task), "create_task($self, coro, /, **kwargs)\n--\n\nSee asyncio.loop.create_task."},
    {"create_future", create_future, METH_NOARGS, "create_future($self, /)\n--\n\nSee asyncio.loop.create_future."},
    {"get_debug", loop_get_debug, METH_NOARGS, "get_debug($self, /)\n--\n\nSee asyncio.loop.get_debug."},
    {"time", loop_time, METH_NOARGS, "time($self, /)\n--\n\nSee asyncio.loop.time."},
    {"stop", loop_stop, METH_NOARGS, "stop($self, /)\n--\n\nSee asyncio.loop.stop."},
    {"_timer_handle_cancelled", timer_handle_cancelled, METH_O,
     "_timer_handle_cancelled($self, handle, /)\n--\n\nCount a cancelled timer that is still in the heap."},
    {NULL, NULL, 0, NULL},
};
