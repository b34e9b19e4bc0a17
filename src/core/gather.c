#include "gather.h"
#include "ready.h"
#include "thread.h"

/* 1 CHILD's newest callback is a function of CODE, and its variable number INDEX is OUTER now | 0 it is not. Runs Python */
static int
tell_outer(PyObject *outer, PyObject *child, PyObject *code, Py_ssize_t index)
{
    PyObject *callbacks;
    int was = AN_COLLECTOR_OFF(); /* a future that is done meanwhile has none any more */
    if (PyObject_GetOptionalAttr(child, an_st->s__callbacks, &callbacks) < 0) {
        PyErr_Clear();
    }
    AN_COLLECTOR_BACK(was);
    int told = 0;
    if (callbacks != NULL && PyList_Check(callbacks) && PyList_GET_SIZE(callbacks) > 0) {
        PyObject *pair = PyList_GET_ITEM(callbacks, PyList_GET_SIZE(callbacks) - 1);
        PyObject *f = PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) > 0 ? PyTuple_GET_ITEM(pair, 0) : NULL;
        if (f != NULL && PyFunction_Check(f) && PyFunction_GetCode(f) == code) {
            PyObject *closure = PyFunction_GetClosure(f);
            told = closure != NULL && index >= 0 && index < PyTuple_GET_SIZE(closure) &&
                   PyCell_Set(PyTuple_GET_ITEM(closure, index), outer) == 0;
        }
    }
    Py_XDECREF(callbacks);
    return told;
}

/* gather() is about to be given OUTER, which CHILDREN's callback, a function of CODE, shall tell: it does from now on. Where a
 * child that is not done has it, as its newest, that is the quickest way to it. True if calls may have been lost before, or it
 * was not found and may be called. */
PyObject *
an_py_gather_known(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 5 || !PyList_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "gather_known(outer, children, loop, code, index)");
        return NULL;
    }
    PyObject *outer = args[0], *children = args[1], *loop = args[2], *code = args[3];
    Py_ssize_t index = PyLong_AsSsize_t(args[4]);
    if (index == -1 && PyErr_Occurred()) {
        return NULL;
    }
    int told = 0;
    for (Py_ssize_t i = PyList_GET_SIZE(children) - 1; !told && i >= 0 && i < PyList_GET_SIZE(children); i--) {
        PyObject *child = Py_NewRef(PyList_GET_ITEM(children, i));
        told = tell_outer(outer, child, code, index);
        Py_DECREF(child);
    }
    if (!told) {
        an_loop *rec = an_loop_peek(loop);
        Py_ssize_t queued = rec == NULL || rec->foreign ? 1 : an_loop_n_ready(rec);
        if (queued != 0) { /* who has it may be done, and is queued */
            PyErr_Clear();
            Py_RETURN_TRUE;
        }
    }
    an_thread *th = an_thread_peek();
    return PyBool_FromLong(th != NULL && th->place.slept);
}
