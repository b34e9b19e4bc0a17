#include "gate.h"
#include "create.h"
#include "poll.h"
#include "sched.h"
#include "waking.h"

#include <math.h>

static PyObject *
gate_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "Gate() takes no arguments");
        return NULL;
    }
    an_gate *self = (an_gate *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->lock = PyThread_allocate_lock();
    if (self->lock == NULL) {
        Py_DECREF(self);
        PyErr_SetString(PyExc_RuntimeError, "can't allocate lock");
        return NULL;
    }
    (void)PyThread_acquire_lock(self->lock, NOWAIT_LOCK);
    return (PyObject *)self;
}

static void
gate_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    an_gate *g = (an_gate *)self;
    if (g->lock != NULL) {
        (void)PyThread_acquire_lock(g->lock, NOWAIT_LOCK); /* held or not, by now: it is to be freed as one that is not */
        PyThread_release_lock(g->lock);
        PyThread_free_lock(g->lock);
    }
    tp->tp_free(self);
    Py_DECREF(tp);
}

/* microseconds that a lock may be waited for */
static PY_TIMEOUT_T
microseconds(double seconds)
{
    return seconds < 0.0 ? 0 : seconds < 1e9 ? (PY_TIMEOUT_T)ceil(seconds * 1e6) : (PY_TIMEOUT_T)1000000000000000;
}

/* For how long to wait after so many seconds before it is looked for signals again. Where a signal ends no wait for a lock, a
 * Ctrl-C is seen only then. */
static double
pause_after(double seconds)
{
#ifdef MS_WINDOWS
    return seconds < 2 * AN_RELAY_PATIENCE ? seconds : 2 * AN_RELAY_PATIENCE;
#else
    return seconds;
#endif
}

/* Wait until it is open, at most SECONDS (negative: for ever). REC (or NULL) is the record of the loop that opens it, WAKER (or
 * NULL) wakes that up. 1 open | 0 not in time | -1+exc; runs Python (signals) */
static int
wait_open(an_gate *g, double seconds, an_loop *rec, an_waker *waker)
{
    double begin = an_loop_now(), deadline = seconds < 0.0 ? INFINITY : begin + seconds;
    double look = begin + AN_RELAY_PATIENCE;
    an_baton baton = {NULL, NULL};
    if (rec != NULL) {
        an_relay_next(&rec->relay, &baton);
    }
    for (;;) {
        int over = g->open || g->due, errands = baton.lock != NULL || waker != NULL;
        double now = an_loop_now(), until = deadline < look ? deadline : look;
        if (!errands && (over || now >= deadline)) {
            g->open |= g->due; /* nobody has handed it over so far, and nobody has to */
            return over;
        }
        PY_TIMEOUT_T us = over ? 0 : microseconds(until - now);
        PyLockStatus status;
        Py_BEGIN_ALLOW_THREADS
        if (waker != NULL) {
            an_waking_end(waker);
        }
        an_relay_hand(&baton);
        status = PyThread_acquire_lock_timed(g->lock, us, 1);
        Py_END_ALLOW_THREADS
        an_relay_done(&baton);
        waker = NULL;
        if (status == PY_LOCK_ACQUIRED) {
            return 1;
        }
        if ((now = an_loop_now()) >= look) {
            look = now + pause_after(now - begin);
            status = PY_LOCK_INTR; /* a signal that came just before the wait has not ended it */
        }
        if (status == PY_LOCK_INTR && Py_MakePendingCalls() < 0) {
            return -1;
        }
    }
}

/* The seconds that a timeout argument means; negative: for ever. -2.0+exc if it is no number */
static double
seconds_of(PyObject *timeout)
{
    double seconds = PyFloat_AsDouble(timeout);
    return seconds == -1.0 && PyErr_Occurred() ? -2.0 : seconds < 0.0 ? -1.0 : seconds;
}

static PyObject *
gate_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    double seconds = -1.0;
    if (nargs > 2) {
        PyErr_SetString(PyExc_TypeError, "acquire() takes at most two arguments, blocking and timeout");
        return NULL;
    }
    int blocking = nargs > 0 ? PyObject_IsTrue(args[0]) : 1;
    if (blocking < 0 || (nargs > 1 && (seconds = seconds_of(args[1])) == -2.0)) {
        return NULL;
    }
    int r = wait_open((an_gate *)self, blocking ? seconds : 0.0, NULL, NULL);
    return r < 0 ? NULL : PyBool_FromLong(r);
}

static PyObject *
gate_release(PyObject *self, PyObject *noargs)
{
    an_gate *g = (an_gate *)self;
    if (!g->open) {
        g->open = 1;
        PyThread_release_lock(g->lock);
    }
    Py_RETURN_NONE;
}

/* (as a done callback of its task, so in the loop's thread) */
static PyObject *
gate_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    an_gate *g = (an_gate *)self;
    if (g->relay != NULL && !g->open && !g->due && an_relay_add(g->relay, g)) {
        Py_RETURN_NONE;
    }
    return gate_release(self, NULL);
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
    PyObject *task = an_create_task(rec, loop, coro);
    PyObject *r = task == NULL ? NULL : PyObject_CallMethodOneArg(task, an_st->s_add_done_callback, callback);
    int rc = r == NULL ? -1 : PyObject_SetAttr(work, an_st->s_task, task);
    Py_XDECREF(r);
    Py_XDECREF(task);
    return rc;
#endif
}

/* Have LOOP, which another thread runs, carry out WORK, whose coroutine is CORO: it gets a task in work.task, which calls
 * CALLBACK there when it is done. Queued as call_soon_threadsafe() would, but for the waking: *WAKER is to be given to
 * an_waking_end(), soon and while LOOP lives. 1 | 0 that is not possible for this loop at present | -1+exc; runs Python */
static int
give_work(an_loop *rec, PyObject *loop, PyObject *coro, PyObject *work, PyObject *callback, an_waker *waker)
{
    waker->fd = -1;
    if (rec->eventfd < 0 || rec->pollfd < 0 || !rec->carried || rec->closed || rec->debug || rec->guest != NULL ||
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
    if (rec->sleeping && !rec->woken) {
        *waker = an_waking_begin(rec);
    }
    return 1;
}

static PyObject *
gate_run(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    an_gate *g = (an_gate *)self;
    if (nargs != 4) {
        PyErr_SetString(PyExc_TypeError, "run() takes four arguments, loop, coro, work and timeout");
        return NULL;
    }
    PyObject *loop = args[0], *coro = args[1], *work = args[2];
    double seconds = args[3] == Py_None ? -1.0 : seconds_of(args[3]);
    an_loop *rec = seconds == -2.0 ? NULL : an_loop_get(loop);
    if (rec == NULL) {
        return NULL;
    }
    an_waker waker;
    Py_INCREF(rec);
    g->relay = &rec->relay;
    rec->relay.waiting++;
    int r = give_work(rec, loop, coro, work, self, &waker), queued = r;
    if (r > 0) {
        r = wait_open(g, seconds, rec, &waker);
    }
    rec->relay.waiting--;
    g->relay = NULL;
    Py_DECREF(rec);
    return r < 0 ? NULL : queued == 0 ? Py_NewRef(Py_None) : PyBool_FromLong(r);
}

static PyMethodDef gate_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))gate_acquire, METH_FASTCALL,
     "acquire($self, blocking=True, timeout=-1, /)\n--\n\nWait until it is open; False if it was not in time."},
    {"release", gate_release, METH_NOARGS, "release($self, /)\n--\n\nOpen it. Doing so again does nothing."},
    {"run", (PyCFunction)(void (*)(void))gate_run, METH_FASTCALL,
     "run($self, loop, coro, work, timeout, /)\n--\n\n"
     "Have loop, which another thread runs, make a task of coro, put it into work.task, and wait until it is done or the gate\n"
     "is opened otherwise. False if that was not in time (timeout None: no limit). None: this loop cannot do so at present,\n"
     "nothing was done."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot gate_slots[] = {
    {Py_tp_doc, "Gate()\n--\n\nA lock that is held from the start and opened once. Calling it opens it."},
    {Py_tp_new, gate_new},
    {Py_tp_dealloc, gate_dealloc},
    {Py_tp_call, gate_call},
    {Py_tp_methods, gate_methods},
    {0, NULL},
};

static PyType_Spec gate_spec = {
    .name = "aionest._core.Gate",
    .basicsize = sizeof(an_gate),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = gate_slots,
};

int
an_gate_init(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &gate_spec, NULL);
    int r = type == NULL ? -1 : PyModule_AddObjectRef(module, "Gate", type);
    Py_XDECREF(type);
    return r;
}
