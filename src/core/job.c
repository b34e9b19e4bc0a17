#include "job.h"
#include "err.h"

long long an_job_calls = 0;

int
an_job_put(an_thread *th, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *context)
{
    Py_ssize_t n = nargs + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject *tuple = n == 0 ? Py_NewRef(an_st->empty_tuple) : PyTuple_New(n);
    if (tuple == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    }
    th->job.callback = Py_NewRef(callback);
    th->job.args = tuple;
    th->job.kwnames = Py_XNewRef(kwnames);
    th->job.context = Py_XNewRef(context);
    return 0;
}

void
an_job_drop(an_thread *th)
{
    Py_CLEAR(th->job.callback);
    Py_CLEAR(th->job.args);
    Py_CLEAR(th->job.kwnames);
    Py_CLEAR(th->job.context);
}

void
an_job_set_aside(an_thread *th, struct an_job *aside)
{
    *aside = th->job;
    th->job.callback = th->job.args = th->job.kwnames = th->job.context = NULL;
    th->job.batch = NULL;
}

void
an_job_put_back(an_thread *th, struct an_job *aside)
{
    th->job.callback = aside->callback;
    th->job.args = aside->args;
    th->job.kwnames = aside->kwnames;
    th->job.context = aside->context;
    th->job.batch = aside->batch;
}

void
an_job_fail(an_thread *th)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (th->job.error == NULL) {
        th->job.error = exc;
    }
    else {
        an_err_unraisable(exc, NULL);
    }
}

int
an_job_run(an_thread *th)
{
    int rc = 0;
    PyObject *callback = th->job.callback, *args = th->job.args, *kwnames = th->job.kwnames, *context = th->job.context;
    long long number = th->job.number;
    th->job.callback = th->job.args = th->job.kwnames = th->job.context = NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(args) - (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    if (context != NULL && PyContext_Enter(context) < 0) {
        rc = -1;
        Py_CLEAR(context);
    }
    else {
        PyObject *r = PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(args, 0), (size_t)n, kwnames);
        if (AN_UNLIKELY(r == NULL)) {
            rc = -1;
        }
        else if (number == th->job.number) {
            Py_XSETREF(th->job.result, r);
        }
        else {
            Py_XDECREF(r); /* the loop has not waited for it */
        }
    }
    PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
    if (context != NULL) {
        if (PyContext_Exit(context) < 0) {
            if (exc == NULL) {
                exc = PyErr_GetRaisedException();
            }
            PyErr_Clear();
        }
        Py_DECREF(context);
    }
    Py_DECREF(callback);
    Py_DECREF(args);
    Py_XDECREF(kwnames);
    if (exc == NULL) {
        return 0;
    }
    PyErr_SetRaisedException(exc);
    return -1;
}
