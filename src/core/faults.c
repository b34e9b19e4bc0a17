#include "compat.h"

#include <stdio.h>
#include <stdlib.h>

static long calls, at;
static const char *failed_call, *failed_file;
static int failed_line;
static PyObject *exception;

int
an_fault(const char *call, const char *file, int line, int raises)
{
    calls++;
    if (at == 0 || calls != at) {
        return 0;
    }
    failed_call = call;
    failed_file = file;
    failed_line = line;
    if (getenv("AN_FAULTS_TRACE") != NULL) {
        fprintf(stderr, "%s, %s:%d\n", call, file, line);
    }
    if (raises) {
        PyErr_SetString(exception, "a fault for the test");
    }
    return 1;
}

static PyObject *
fault(PyObject *module, PyObject *args)
{
    PyObject *raised;
    long n;
    if (!PyArg_ParseTuple(args, "lO:_fault", &n, &raised)) {
        return NULL;
    }
    Py_XSETREF(exception, Py_NewRef(raised));
    calls = 0;
    at = n;
    failed_call = failed_file = NULL;
    failed_line = 0;
    Py_RETURN_NONE;
}

static PyObject *
faults(PyObject *module, PyObject *noargs)
{
    at = 0;
    return Py_BuildValue("(lzzi)", calls, failed_call, failed_file, failed_line);
}

PyMethodDef an_faults_methods[] = {
    {"_fault", fault, METH_VARARGS, "_fault($module, n, exception, /)\n--\n\nMake the n-th call from now on fail; 0: none."},
    {"_faults", faults, METH_NOARGS, "_faults($module, /)\n--\n\n(calls since then, the one that failed, its file, its line)"},
    {NULL, NULL, 0, NULL},
};
