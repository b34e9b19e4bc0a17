#include "err.h"

PyObject *
an_err(const char *name, const char *format, ...)
{
    va_list va;
    PyObject *type = NULL;
    if (an_st->h_errors != NULL) {
        type = PyObject_GetAttrString(an_st->h_errors, name);
        PyErr_Clear();
    }
    va_start(va, format);
    PyErr_FormatV(type != NULL ? type : PyExc_RuntimeError, format, va);
    va_end(va);
    Py_XDECREF(type);
    return NULL;
}

void
an_err_unraisable(PyObject *exc, PyObject *where)
{
    PyErr_SetRaisedException(exc);
    PyErr_WriteUnraisable(where);
}

PyObject *
an_err_foreign_loop(PyObject *loop, const char *why)
{
    PyObject *type = (PyObject *)Py_TYPE(loop), *module = PyObject_GetAttrString(type, "__module__");
    PyObject *name = module == NULL ? NULL : PyObject_GetAttrString(type, "__qualname__");
    PyErr_Clear();
    an_err("ForeignLoopError",
           "aionest cannot suspend code on %S.%S: %s. Await there instead of nesting, or run this part on another thread "
           "(aionest.portal().call) or on a loop of asyncio's own, such as asyncio.SelectorEventLoop",
           module != NULL ? module : type, name != NULL ? name : type, why);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return NULL;
}

void
an_err_close_coro(PyObject *coro)
{
    if (coro == NULL || !PyCoro_CheckExact(coro)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *r = PyObject_CallMethodNoArgs(coro, an_st->s_close);
    if (r == NULL) {
        PyErr_WriteUnraisable(coro);
    }
    Py_XDECREF(r);
    PyErr_SetRaisedException(exc);
}

int
an_err_is_exit(void)
{
    return PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit);
}

int
an_err_is_interrupted(PyObject *exc)
{
    PyObject *type = an_st->h_errors == NULL ? NULL : PyObject_GetAttrString(an_st->h_errors, "Interrupted");
    int r = type != NULL && PyErr_GivenExceptionMatches(exc, type);
    PyErr_Clear();
    Py_XDECREF(type);
    return r;
}
