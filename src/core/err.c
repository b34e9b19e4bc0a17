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

PyObject *
an_err_own_stack(PyObject *loop, int late)
{
    PyObject *current = late ? an_import_attr("asyncio", "current_task") : NULL;
    PyObject *task = current == NULL ? NULL : PyObject_CallOneArg(current, loop);
    PyErr_Clear();
    if (task != NULL && task != Py_None) {
        an_err("NestedRunError",
               "this step of %R was in flight, or queued, when aionest.apply() came, and %R is a loop that can be suspended "
               "from its next steps on. Call apply() before the loop runs, or await asyncio.sleep(0) first",
               task, Py_TYPE(loop));
    }
    else {
        an_err("NestedRunError",
               "this call is made on the own stack of %R, which cannot be suspended: in a callback of a protocol or a "
               "transport, for example%s. Make it in a task, or in a callback of loop.call_soon()",
               Py_TYPE(loop), late ? ", or in one that was queued when aionest.apply() came" : "");
    }
    Py_XDECREF(task);
    Py_XDECREF(current);
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

void
an_err_handle(PyObject *exc, an_err_before *before)
{
    PyErr_GetExcInfo(&before->type, &before->value, &before->traceback);
    PyErr_SetExcInfo(Py_NewRef((PyObject *)Py_TYPE(exc)), Py_NewRef(exc), PyException_GetTraceback(exc));
}

void
an_err_handled(an_err_before *before)
{
    PyErr_SetExcInfo(before->type, before->value, before->traceback); /* steals */
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
