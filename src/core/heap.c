#include "heap.h"
#include "handle.h"

static int
plain(PyObject *h)
{
    return Py_IS_TYPE(h, (PyTypeObject *)an_st->type_timer) && AN_HSLOT(h, when) != NULL &&
           PyFloat_CheckExact(AN_HSLOT(h, when));
}

static inline long long
seq_of(PyObject *h)
{
    return *(long long *)((char *)h + an_hl.seq);
}

/* 1 if a goes before b, 0 if not, -1+exc */
static inline int
before(PyObject *a, PyObject *b)
{
    if (AN_LIKELY(plain(a) && plain(b))) {
        double x = PyFloat_AS_DOUBLE(AN_HSLOT(a, when)), y = PyFloat_AS_DOUBLE(AN_HSLOT(b, when));
        return x < y || (x == y && seq_of(a) < seq_of(b));
    }
    Py_INCREF(a);
    Py_INCREF(b);
    int r = PyObject_RichCompareBool(a, b, Py_LT);
    Py_DECREF(a);
    Py_DECREF(b);
    return r;
}

static int
changed(void)
{
    PyErr_SetString(PyExc_RuntimeError, "loop._scheduled changed size while two timers were compared");
    return -1;
}

static void
swap(PyObject *list, Py_ssize_t i, Py_ssize_t j)
{
    PyObject *x = PyList_GET_ITEM(list, i);
    PyList_SET_ITEM(list, i, PyList_GET_ITEM(list, j));
    PyList_SET_ITEM(list, j, x);
}

static int
sift_up(PyObject *list, Py_ssize_t i)
{
    Py_ssize_t n = PyList_GET_SIZE(list);
    while (i > 0) {
        Py_ssize_t parent = (i - 1) >> 1;
        int lt = before(PyList_GET_ITEM(list, i), PyList_GET_ITEM(list, parent));
        if (lt < 0) {
            return -1;
        }
        if (PyList_GET_SIZE(list) != n) {
            return changed();
        }
        if (!lt) {
            break;
        }
        swap(list, i, parent);
        i = parent;
    }
    return 0;
}

static int
sift_down(PyObject *list)
{
    Py_ssize_t n = PyList_GET_SIZE(list), i = 0;
    for (;;) {
        Py_ssize_t c = 2 * i + 1;
        if (c >= n) {
            return 0;
        }
        if (c + 1 < n) {
            int lt = before(PyList_GET_ITEM(list, c + 1), PyList_GET_ITEM(list, c));
            if (lt < 0) {
                return -1;
            }
            if (PyList_GET_SIZE(list) != n) {
                return changed();
            }
            c += lt;
        }
        int lt = before(PyList_GET_ITEM(list, c), PyList_GET_ITEM(list, i));
        if (lt < 0) {
            return -1;
        }
        if (PyList_GET_SIZE(list) != n) {
            return changed();
        }
        if (!lt) {
            return 0;
        }
        swap(list, i, c);
        i = c;
    }
}

int
an_heap_push(an_loop *rec, PyObject *timer)
{
    PyObject *list = Py_NewRef(rec->scheduled);
    int r = PyList_Append(list, timer);
    if (r == 0) {
        r = sift_up(list, PyList_GET_SIZE(list) - 1);
    }
    Py_DECREF(list);
    return r;
}

PyObject *
an_heap_pop(an_loop *rec)
{
    PyObject *list = Py_NewRef(rec->scheduled);
    Py_ssize_t n = PyList_GET_SIZE(list);
    if (n == 0) {
        PyErr_SetString(PyExc_IndexError, "no timer to take");
        Py_DECREF(list);
        return NULL;
    }
    PyObject *first = Py_NewRef(PyList_GET_ITEM(list, 0));
    swap(list, 0, n - 1);
    /* the last item is FIRST, which we hold: shrinking runs no finalizer */
    if (PyList_SetSlice(list, n - 1, n, NULL) < 0 || sift_down(list) < 0) {
        Py_CLEAR(first);
    }
    Py_DECREF(list);
    return first;
}
