#include "taskset.h"

/* what the two functions are bound to, a tuple */
enum { SET, DATA, PENDING, ITERATING, DISCARD, N_PARTS };

#define PART(self, i) PyTuple_GET_ITEM(self, i)

/* The task of REF is gone; runs when its last reference is dropped. */
static PyObject *
discard(PyObject *self, PyObject *ref)
{
    int r = PySet_GET_SIZE(PART(self, ITERATING)) > 0 ? PyList_Append(PART(self, PENDING), ref)
                                                      : PySet_Discard(PART(self, DATA), ref);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
add(PyObject *self, PyObject *task)
{
    if (PyList_GET_SIZE(PART(self, PENDING)) > 0) {
        PyObject *r = PyObject_CallMethod(PART(self, SET), "_commit_removals", NULL);
        if (r == NULL) {
            return NULL;
        }
        Py_DECREF(r);
    }
    PyObject *ref = PyWeakref_NewRef(task, PART(self, DISCARD));
    if (ref == NULL) {
        return NULL;
    }
    int r = PySet_Add(PART(self, DATA), ref); /* may run Python: __hash__ and __eq__ of a task class */
    Py_DECREF(ref);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

int
an_task_set_is_discard(PyObject *callback)
{
    return PyCFunction_CheckExact(callback) && PyCFunction_GET_FUNCTION(callback) == discard;
}

static PyMethodDef discard_def = {"discard", discard, METH_O, NULL};
static PyMethodDef add_def = {"add", add, METH_O, "add($self, item, /)\n--\n\nSee weakref.WeakSet.add."};

/* new ref to attribute NAME of SET if its type is TYPE | NULL, with or without an exception */
static PyObject *
part(PyObject *set, const char *name, PyTypeObject *type)
{
    PyObject *s = PyUnicode_FromString(name), *v = NULL;
    if (s == NULL || PyObject_GetOptionalAttr(set, s, &v) < 0) {
        Py_XDECREF(s);
        return NULL;
    }
    Py_DECREF(s);
    if (v != NULL && !Py_IS_TYPE(v, type)) {
        Py_CLEAR(v);
    }
    return v;
}

PyObject *
an_py_task_set_add(PyObject *module, PyObject *set)
{
    PyObject *type = an_import_attr("weakref", "WeakSet");
    if (type == NULL) {
        return NULL;
    }
    int known = Py_IS_TYPE(set, (PyTypeObject *)type);
    Py_DECREF(type);
    if (!known) {
        Py_RETURN_NONE;
    }
    PyObject *v[N_PARTS] = {Py_NewRef(set), NULL, NULL, NULL, NULL}, *inner = NULL, *outer = NULL, *f = NULL;
    if ((v[DATA] = part(set, "data", &PySet_Type)) == NULL ||
        (v[PENDING] = part(set, "_pending_removals", &PyList_Type)) == NULL ||
        (v[ITERATING] = part(set, "_iterating", &PySet_Type)) == NULL) {
        f = PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
        goto done;
    }
    inner = PyTuple_Pack(N_PARTS, v[SET], v[DATA], v[PENDING], v[ITERATING], Py_None);
    v[DISCARD] = inner == NULL ? NULL : PyCFunction_New(&discard_def, inner);
    outer = v[DISCARD] == NULL ? NULL : PyTuple_Pack(N_PARTS, v[SET], v[DATA], v[PENDING], v[ITERATING], v[DISCARD]);
    f = outer == NULL ? NULL : PyCFunction_New(&add_def, outer);
done:
    for (int i = 0; i < N_PARTS; i++) {
        Py_XDECREF(v[i]);
    }
    Py_XDECREF(inner);
    Py_XDECREF(outer);
    return f;
}
