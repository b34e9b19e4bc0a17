#include "steps.h"

struct an_step {
    an_step *next;
    PyObject *task; /* strong */
    PyObject *held; /* strong: list of (callback, args, context or None) */
};

an_step *an_steps_open = NULL;

an_step *
an_steps_enter(PyObject *task)
{
    an_step *step = PyMem_Malloc(sizeof(an_step));
    if (step == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if ((step->held = PyList_New(0)) == NULL) {
        PyMem_Free(step);
        return NULL;
    }
    step->task = Py_NewRef(task);
    step->next = an_steps_open;
    an_steps_open = step;
    return step;
}

/* 0 | -1+exc */
static int
give_back(PyObject *loop, PyObject *held)
{
    PyObject *callback = PyTuple_GET_ITEM(held, 0), *args = PyTuple_GET_ITEM(held, 1), *context = PyTuple_GET_ITEM(held, 2);
    PyObject *all = PyTuple_New(1 + PyTuple_GET_SIZE(args)), *kwargs = PyDict_New(), *f = NULL, *r = NULL;
    if (all != NULL && kwargs != NULL && PyDict_SetItem(kwargs, an_st->s_context, context) == 0 &&
        (f = PyObject_GetAttr(loop, an_st->s_call_soon)) != NULL) {
        PyTuple_SET_ITEM(all, 0, Py_NewRef(callback));
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
            PyTuple_SET_ITEM(all, 1 + i, Py_NewRef(PyTuple_GET_ITEM(args, i)));
        }
        r = PyObject_Call(f, all, kwargs);
    }
    Py_XDECREF(f);
    Py_XDECREF(all);
    Py_XDECREF(kwargs);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

void
an_steps_leave(an_step *step, PyObject *loop)
{
    for (an_step **p = &an_steps_open; *p != NULL; p = &(*p)->next) {
        if (*p == step) {
            *p = step->next;
            break;
        }
    }
    PyObject *exc = PyErr_GetRaisedException(), *held = step->held;
    for (Py_ssize_t i = 0; loop != NULL && i < PyList_GET_SIZE(held); i++) {
        if (give_back(loop, PyList_GET_ITEM(held, i)) < 0) {
            PyErr_WriteUnraisable(step->task);
        }
    }
    Py_DECREF(held);
    Py_DECREF(step->task);
    PyMem_Free(step);
    PyErr_SetRaisedException(exc);
}

/* Of a task's bound methods, those that begin a step: asyncio's names for them, since 3.10. C tasks have an object without a
 * name besides. */
static int
begins_a_step(PyObject *callback)
{
    static const char *const names[] = {"task_wakeup", "__step", "__wakeup", NULL};
    PyObject *name = NULL;
    if (PyObject_GetOptionalAttr(callback, an_st->s___name__, &name) <= 0) {
        PyErr_Clear();
        return 1;
    }
    int r = 0;
    for (int i = 0; !r && names[i] != NULL; i++) {
        r = PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, names[i]) == 0;
    }
    Py_DECREF(name);
    return r;
}

int
an_steps_hold(PyObject *callback, PyObject *const *args, Py_ssize_t n, PyObject *context)
{
    PyObject *task = NULL, *tuple = NULL, *one = NULL, *held = NULL;
    if (PyObject_GetOptionalAttr(callback, an_st->s___self__, &task) <= 0) {
        PyErr_Clear();
        return 0;
    }
    int begins = begins_a_step(callback), rc = -1;
    for (an_step *step = begins ? an_steps_open : NULL; step != NULL; step = step->next) {
        if (step->task == task) {
            held = Py_NewRef(step->held);
            break;
        }
    }
    Py_DECREF(task);
    if (held == NULL) {
        return 0;
    }
    if ((tuple = PyTuple_New(n)) != NULL) {
        for (Py_ssize_t i = 0; i < n; i++) {
            PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
        }
        one = PyTuple_Pack(3, callback, tuple, context == NULL ? Py_None : context);
        rc = one == NULL ? -1 : PyList_Append(held, one);
    }
    if (rc < 0) {
        PyErr_WriteUnraisable(callback); /* no memory: let it begin, rather than lose it */
    }
    Py_XDECREF(one);
    Py_XDECREF(tuple);
    Py_DECREF(held);
    return rc == 0;
}
