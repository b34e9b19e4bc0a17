#include "foreign.h"

/* 1 a foreign stack sleeps on STACK | 0 none does */
static int
is_stranded(an_fibers *fs, PyObject *stack)
{
    PyObject *key = fs->stranded == NULL ? NULL : PyLong_FromVoidPtr(stack);
    int r = key == NULL ? 0 : PyDict_Contains(fs->stranded, key);
    Py_XDECREF(key);
    if (key == NULL || r < 0) {
        PyErr_Clear();
    }
    return r > 0;
}

static int
count(an_fibers *fs, PyObject *stack, long by)
{
    PyObject *key = PyLong_FromVoidPtr(stack);
    PyObject *before = key == NULL ? NULL : PyDict_GetItemWithError(fs->stranded, key), *after = NULL;
    int rc = key == NULL || PyErr_Occurred() ? -1 : 0;
    if (rc == 0) {
        long n = by + (before == NULL ? 0 : PyLong_AsLong(before));
        if (n <= 0) {
            rc = before == NULL ? 0 : PyDict_DelItem(fs->stranded, key);
        }
        else {
            after = PyLong_FromLong(n);
            rc = after == NULL ? -1 : PyDict_SetItem(fs->stranded, key, after);
        }
    }
    Py_XDECREF(after);
    Py_XDECREF(key);
    return rc;
}

/* FIBER got control: no stranded stack may be between it and the carrier. */
static void
put_right(an_fibers *fs, PyObject *fiber)
{
    PyObject *carrier = fs->carrier;
    if (carrier == NULL || fiber == carrier || an_fiber_is_ours(fiber)) {
        return;
    }
    Py_INCREF(carrier);
    Py_INCREF(fiber);
    PyObject *parent;
    while ((parent = an_fiber_parent(fiber)) != NULL && parent != carrier) {
        int ours = an_fiber_is_ours(parent);
        /* one of ours that has ended passes on to its own parent, and that may be stranded */
        int stranded = is_stranded(fs, parent) || (ours && !an_fiber_active(parent));
        if (stranded && an_fiber_set_parent(fiber, carrier) < 0) {
            PyErr_Clear(); /* the carrier stands on it: it ends there all the same */
        }
        if (stranded || ours) {
            break;
        }
        Py_SETREF(fiber, parent);
    }
    Py_XDECREF(parent);
    Py_DECREF(fiber);
    Py_DECREF(carrier);
}

/* tracer(event, (origin, target)), called on the target's stack */
static PyObject *
trace(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    an_fibers *fs = an_fiber_here();
    if (fs == NULL) {
        Py_RETURN_NONE;
    }
    if (n == 2 && fs->stranded != NULL && PyTuple_Check(args[1]) && PyTuple_GET_SIZE(args[1]) == 2) {
        PyObject *target = PyTuple_GET_ITEM(args[1], 1);
        if (target != fs->expected) {
            put_right(fs, target);
        }
    }
    if (fs->tracer_before == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *before = Py_NewRef(fs->tracer_before);
    PyObject *r = PyObject_Vectorcall(before, args, (size_t)n, NULL);
    Py_DECREF(before);
    return r;
}

static int
start(an_fibers *fs)
{
    if ((fs->stranded = PyDict_New()) == NULL) {
        return -1;
    }
    PyObject *before = PyObject_CallOneArg(an_st->greenlet_settrace, an_st->foreign_tracer);
    if (before == NULL) {
        Py_CLEAR(fs->stranded);
        return -1;
    }
    if (before == Py_None || before == an_st->foreign_tracer) {
        Py_CLEAR(before);
    }
    Py_XSETREF(fs->tracer_before, before);
    return 0;
}

static void
stop(an_fibers *fs)
{
    PyObject *before = fs->tracer_before, *now = PyObject_CallNoArgs(an_st->greenlet_gettrace), *r = NULL;
    fs->tracer_before = NULL;
    Py_CLEAR(fs->stranded);
    if (now == an_st->foreign_tracer) {
        r = PyObject_CallOneArg(an_st->greenlet_settrace, before == NULL ? Py_None : before);
    }
    if (now == NULL || (now == an_st->foreign_tracer && r == NULL)) {
        PyErr_WriteUnraisable(an_st->foreign_tracer);
    }
    Py_XDECREF(r);
    Py_XDECREF(now);
    Py_XDECREF(before);
}

int
an_foreign_strand(an_fibers *fs, PyObject *stack)
{
    fs->unsettled++;
    if (fs->stranded == NULL && start(fs) < 0) {
        fs->unsettled--;
        return -1;
    }
    if (count(fs, stack, 1) < 0) {
        fs->unsettled--;
        if (PyDict_GET_SIZE(fs->stranded) == 0) {
            PyObject *exc = PyErr_GetRaisedException();
            stop(fs);
            PyErr_SetRaisedException(exc);
        }
        return -1;
    }
    return 0;
}

void
an_foreign_sleeps(an_fibers *fs)
{
    fs->unsettled--;
}

void
an_foreign_wakes(an_fibers *fs)
{
    fs->unsettled++;
}

void
an_foreign_release(PyObject *fiber, PyObject *stack, PyObject *hub)
{
    PyObject *parent;
    Py_INCREF(fiber);
    while ((parent = an_fiber_parent(fiber)) != NULL && !an_fiber_is_ours(parent)) {
        Py_SETREF(fiber, parent);
    }
    while (parent != NULL && parent != hub) {
        Py_SETREF(parent, an_fiber_parent(parent)); /* those of ours that have ended pass on */
    }
    if (parent != NULL && an_fiber_set_parent(fiber, stack) < 0) {
        PyErr_Clear(); /* the hub stays */
    }
    Py_XDECREF(parent);
    Py_DECREF(fiber);
}

void
an_foreign_return(an_fibers *fs, PyObject *stack, PyObject *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (fs->stranded != NULL) {
        if (count(fs, stack, -1) < 0) {
            PyErr_WriteUnraisable(an_st->foreign_tracer);
        }
        if (PyDict_GET_SIZE(fs->stranded) == 0) {
            stop(fs);
        }
        else {
            put_right(fs, self);
        }
    }
    fs->unsettled--;
    PyErr_SetRaisedException(exc);
}

Py_ssize_t
an_foreign_count(an_fibers *fs)
{
    if (fs->unsettled > 0) {
        return -2;
    }
    Py_ssize_t n = 0, i = 0;
    PyObject *key, *value;
    while (fs->stranded != NULL && PyDict_Next(fs->stranded, &i, &key, &value)) {
        n += PyLong_AsSsize_t(value);
    }
    return fs->stranded != NULL && n == 0 ? -1 : n;
}

static PyMethodDef trace_def = {"follow_switches", (PyCFunction)(void (*)(void))trace, METH_FASTCALL, NULL};

int
an_foreign_init(void)
{
    an_st->foreign_tracer = PyCFunction_New(&trace_def, NULL);
    return an_st->foreign_tracer == NULL ? -1 : 0;
}
