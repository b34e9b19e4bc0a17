#include "gate.h"

#include <pythread.h>

#include <math.h>

typedef struct {
    PyObject_HEAD
    PyThread_type_lock lock;
    int open;
} an_gate;

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
        PyErr_SetString(PyExc_RuntimeError, "no lock could be made: the system has run out of something");
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
        if (!g->open) {
            PyThread_release_lock(g->lock);
        }
        PyThread_free_lock(g->lock);
    }
    tp->tp_free(self);
    Py_DECREF(tp);
}

/* Wait until it is open, at most SECONDS (negative: for ever), and wake up with WAKER (or NULL) who may open it.
 * 1 open | 0 not in time | -1+exc; runs Python (signals) */
static int
wait_open(an_gate *g, double seconds, an_waker *waker)
{
    double deadline = seconds < 0.0 ? 0.0 : an_loop_now() + seconds;
    while (!g->open || waker != NULL) {
        double left = seconds < 0.0 ? 0.0 : deadline - an_loop_now();
        if (waker == NULL && seconds >= 0.0 && left <= 0.0) {
            return 0;
        }
        PY_TIMEOUT_T us = -1;
        if (seconds >= 0.0) {
            us = left <= 0.0 ? 0 : left < 1e9 ? (PY_TIMEOUT_T)ceil(left * 1e6) : (PY_TIMEOUT_T)1000000000000000;
        }
        PyLockStatus status;
        Py_BEGIN_ALLOW_THREADS
        if (waker != NULL) {
            an_sched_wake(waker);
        }
        status = PyThread_acquire_lock_timed(g->lock, us, 1);
        Py_END_ALLOW_THREADS
        waker = NULL;
        if (status == PY_LOCK_ACQUIRED) {
            return 1;
        }
        if (status == PY_LOCK_INTR && Py_MakePendingCalls() < 0) {
            return -1;
        }
    }
    return 1;
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
    int r = wait_open((an_gate *)self, blocking ? seconds : 0.0, NULL);
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

static PyObject *
gate_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return gate_release(self, NULL);
}

static PyObject *
gate_run(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4) {
        PyErr_SetString(PyExc_TypeError, "run() takes four arguments, loop, coro, work and timeout");
        return NULL;
    }
    PyObject *loop = args[0], *coro = args[1], *work = args[2];
    double seconds = args[3] == Py_None ? -1.0 : seconds_of(args[3]);
    if (seconds == -2.0) {
        return NULL;
    }
    an_waker waker;
    PyObject *task = an_sched_task_from_thread(loop, coro, self, &waker);
    if (task == NULL || task == Py_None) {
        return task;
    }
    int r = PyObject_SetAttr(work, an_st->s_task, task);
    Py_DECREF(task);
    if (r < 0) {
        Py_BEGIN_ALLOW_THREADS
        an_sched_wake(&waker);
        Py_END_ALLOW_THREADS
        return NULL;
    }
    r = wait_open((an_gate *)self, seconds, &waker);
    return r < 0 ? NULL : PyBool_FromLong(r);
}

static PyMethodDef gate_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))gate_acquire, METH_FASTCALL,
     "acquire($self, blocking=True, timeout=-1, /)\n--\n\nWait until it is open; False if it was not in time."},
    {"release", gate_release, METH_NOARGS, "release($self, /)\n--\n\nOpen it. Doing so again does nothing."},
    {"run", (PyCFunction)(void (*)(void))gate_run, METH_FASTCALL,
     "run($self, loop, coro, work, timeout, /)\n--\n\n"
     "Make a task of loop, which another thread runs, put it into work.task, and wait until it is done or the gate is\n"
     "opened otherwise. False if that was not in time (timeout None: no limit). None: this loop cannot do so at present,\n"
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
