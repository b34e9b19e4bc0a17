#include "fiber.h"
#include "chunks.h"

#include <greenlet.h>

int
an_fiber_init(void)
{
    PyGreenlet_Import();
    if (_PyGreenlet_API == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ImportError, "greenlet has no C API");
        }
        return -1;
    }
    return 0;
}

PyObject *
an_fiber_current(void)
{
    return (PyObject *)PyGreenlet_GetCurrent();
}

PyObject *
an_fiber_new(PyObject *run, PyObject *parent)
{
    an_chunks_install();
    return (PyObject *)PyGreenlet_New(run, (PyGreenlet *)parent);
}

int
an_fiber_switch(PyObject *fiber)
{
    if (AN_UNLIKELY(Py_IsFinalizing())) {
        PyErr_SetString(PyExc_RuntimeError, "the interpreter is shutting down: no other stack can go on");
        return -1;
    }
    an_st->n_switches++;
    PyObject *r = PyGreenlet_Switch((PyGreenlet *)fiber, NULL, NULL);
    if (AN_UNLIKELY(r == NULL)) {
        return -1;
    }
    Py_DECREF(r);
    return 0;
}

int
an_fiber_set_parent(PyObject *fiber, PyObject *parent)
{
    return PyGreenlet_SetParent((PyGreenlet *)fiber, (PyGreenlet *)parent);
}

int
an_fiber_active(PyObject *fiber)
{
    return PyGreenlet_ACTIVE((PyGreenlet *)fiber);
}
