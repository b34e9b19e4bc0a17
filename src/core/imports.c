#include "imports.h"
#include "err.h"

int
an_imports_look(void)
{
    an_state *st = an_st;
    PyObject *look = Py_NewRef(st->imports_look);
    int rc = 0;
    Py_ssize_t n = PyDict_GET_SIZE(st->modules);
    st->n_modules = n; /* before the call: it may come here again */
    PyObject *complete = PyObject_CallNoArgs(look);
    if (complete == Py_False) {
        st->n_modules = -1; /* one of them is in the making */
    }
    else if (complete == NULL && an_err_is_exit()) {
        st->n_modules = -1;
        rc = -1;
    }
    else if (complete == NULL) {
        PyErr_WriteUnraisable(look);
    }
    Py_XDECREF(complete);
    Py_DECREF(look);
    return rc;
}

PyObject *
an_py_watch_modules(PyObject *module, PyObject *args)
{
    an_state *st = an_st;
    PyObject *look = NULL, *finder = NULL, *meta_path = NULL;
    if (!PyArg_ParseTuple(args, "|OOO!:_watch_modules", &look, &finder, &PyList_Type, &meta_path)) {
        return NULL;
    }
    if (meta_path == NULL) {
        Py_CLEAR(st->imports_look);
        Py_RETURN_NONE;
    }
    Py_XSETREF(st->modules, Py_NewRef(PyImport_GetModuleDict()));
    st->n_modules = -1;
    Py_XSETREF(st->meta_path, Py_NewRef(meta_path));
    Py_XSETREF(st->imports_finder, Py_NewRef(finder));
    Py_XSETREF(st->imports_look, Py_NewRef(look)); /* last: the others are there when it is */
    Py_RETURN_NONE;
}
