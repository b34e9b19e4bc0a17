/* ready.c - loop._ready as others see it: the methods of collections.deque that code is known to use.  Level 4: loop.
 *
 * The owner pops through an_loop_step(); these serve asyncio's own frames in flight, tests and other libraries.
 */
#include "handle.h"
#include "loop.h"

#define REC(o) ((an_loop *)(o))

Py_ssize_t
an_ready_len(PyObject *self)
{
    return (Py_ssize_t)REC(self)->ready.len;
}

PyObject *
an_ready_item(PyObject *self, Py_ssize_t i)
{
    an_ring *r = &REC(self)->ready;
    if (i < 0 || (size_t)i >= r->len) {
        PyErr_SetString(PyExc_IndexError, "deque index out of range");
        return NULL;
    }
    return Py_NewRef(an_ring_at(r, (size_t)i));
}

/* index of O, or -1 not there, -2+exc. Comparing runs Python: the item is held, the length is read anew each time. */
static Py_ssize_t
find(an_loop *rec, PyObject *o)
{
    for (size_t i = 0; i < rec->ready.len; i++) {
        PyObject *x = Py_NewRef(an_ring_at(&rec->ready, i));
        int eq = PyObject_RichCompareBool(x, o, Py_EQ);
        Py_DECREF(x);
        if (eq != 0) {
            return eq > 0 ? (Py_ssize_t)i : -2;
        }
    }
    return -1;
}

int
an_ready_contains(PyObject *self, PyObject *o)
{
    Py_ssize_t i = find(REC(self), o);
    return i == -2 ? -1 : i >= 0;
}

static PyObject *
ready_append(PyObject *self, PyObject *o)
{
    if (an_ring_push(&REC(self)->ready, o) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
ready_appendleft(PyObject *self, PyObject *o)
{
    if (an_ring_push_front(&REC(self)->ready, o) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
ready_popleft(PyObject *self, PyObject *noargs)
{
    PyObject *o = an_ring_pop(&REC(self)->ready);
    if (o != NULL) {
        return o;
    }
    if (REC(self)->inflight) {
        /* a frame of asyncio's _run_once counted its handles before another stack ran them: give it blanks */
        return an_handle_cancelled_one();
    }
    PyErr_SetString(PyExc_IndexError, "pop from an empty deque");
    return NULL;
}

static PyObject *
ready_pop(PyObject *self, PyObject *noargs)
{
    PyObject *o = an_ring_pop_back(&REC(self)->ready);
    if (o == NULL) {
        PyErr_SetString(PyExc_IndexError, "pop from an empty deque");
    }
    return o;
}

static PyObject *
ready_clear(PyObject *self, PyObject *noargs)
{
    an_ring_clear(&REC(self)->ready);
    Py_RETURN_NONE;
}

static PyObject *
ready_remove(PyObject *self, PyObject *o)
{
    Py_ssize_t i = find(REC(self), o);
    if (i >= 0 && (size_t)i < REC(self)->ready.len) {
        Py_DECREF(an_ring_take(&REC(self)->ready, (size_t)i));
        Py_RETURN_NONE;
    }
    if (i != -2) {
        PyErr_SetString(PyExc_ValueError, "deque.remove(x): x not in deque");
    }
    return NULL;
}

int
an_ready_extend(an_loop *rec, PyObject *iterable)
{
    PyObject *list = PySequence_List(iterable);
    if (list == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (an_ring_push(&rec->ready, PyList_GET_ITEM(list, i)) < 0) {
            Py_DECREF(list);
            return -1;
        }
    }
    Py_DECREF(list);
    return 0;
}

static PyObject *
ready_extend(PyObject *self, PyObject *iterable)
{
    if (an_ready_extend(REC(self), iterable) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
as_list(PyObject *self)
{
    an_ring *r = &REC(self)->ready;
    PyObject *list = PyList_New((Py_ssize_t)r->len);
    if (list == NULL) {
        return NULL;
    }
    /* a collection during PyList_New may have changed the ring */
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *o = (size_t)i < r->len ? an_ring_at(r, (size_t)i) : Py_None;
        PyList_SET_ITEM(list, i, Py_NewRef(o));
    }
    return list;
}

PyObject *
an_ready_iter(PyObject *self)
{
    PyObject *list = as_list(self);
    if (list == NULL) {
        return NULL;
    }
    PyObject *it = PyObject_GetIter(list);
    Py_DECREF(list);
    return it;
}

static PyObject *
as_deque(PyObject *self, PyObject *noargs)
{
    PyObject *list = as_list(self);
    if (list == NULL) {
        return NULL;
    }
    PyObject *type = an_import_attr("collections", "deque");
    PyObject *d = type == NULL ? NULL : PyObject_CallOneArg(type, list);
    Py_XDECREF(type);
    Py_DECREF(list);
    return d;
}

PyObject *
an_ready_repr(PyObject *self)
{
    PyObject *d = as_deque(self, NULL);
    if (d == NULL) {
        return NULL;
    }
    PyObject *r = PyObject_Repr(d);
    Py_DECREF(d);
    return r;
}

PyObject *
an_ready_richcompare(PyObject *a, PyObject *b, int op)
{
    if (a == b && (op == Py_EQ || op == Py_NE)) {
        return PyBool_FromLong(op == Py_EQ);
    }
    PyObject *d = as_deque(a, NULL);
    if (d == NULL) {
        return NULL;
    }
    PyObject *e = Py_IS_TYPE(b, (PyTypeObject *)an_st->type_loop) ? as_deque(b, NULL) : Py_NewRef(b);
    PyObject *r = e == NULL ? NULL : PyObject_RichCompare(d, e, op);
    Py_DECREF(d);
    Py_XDECREF(e);
    return r;
}

PyMethodDef an_ready_methods[] = {
    {"append", ready_append, METH_O, "append($self, item, /)\n--\n\nAdd a handle at the end."},
    {"appendleft", ready_appendleft, METH_O, "appendleft($self, item, /)\n--\n\nAdd a handle at the front."},
    {"popleft", ready_popleft, METH_NOARGS, "popleft($self, /)\n--\n\nTake the first handle."},
    {"pop", ready_pop, METH_NOARGS, "pop($self, /)\n--\n\nTake the last handle."},
    {"clear", ready_clear, METH_NOARGS, "clear($self, /)\n--\n\nDrop all handles."},
    {"remove", ready_remove, METH_O, "remove($self, item, /)\n--\n\nDrop the first handle equal to item."},
    {"extend", ready_extend, METH_O, "extend($self, items, /)\n--\n\nAdd handles at the end."},
    {"copy", as_deque, METH_NOARGS, "copy($self, /)\n--\n\nA collections.deque of the handles."},
    {"__copy__", as_deque, METH_NOARGS, "__copy__($self, /)\n--\n\nA collections.deque of the handles."},
    {NULL, NULL, 0, NULL},
};
