#include "ready.h"
#include "handle.h"

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

/* ---- ours, or somebody's own in its place ------------------------------------------------------------ */

int
an_loop_own_queue(an_loop *rec)
{
    return rec->own_ready != NULL || rec->own_scheduled != NULL ? AN_OVR_CALL_SOON : 0;
}

Py_ssize_t
an_loop_n_ready(an_loop *rec)
{
    if (AN_LIKELY(rec->own_ready == NULL)) {
        return (Py_ssize_t)rec->ready.len;
    }
    PyObject *own = Py_NewRef(rec->own_ready);
    Py_ssize_t n = PyObject_Size(own);
    Py_DECREF(own);
    return n;
}

int
an_loop_push(an_loop *rec, PyObject *handle)
{
    if (AN_LIKELY(rec->own_ready == NULL)) {
        return an_ring_push(&rec->ready, handle);
    }
    PyObject *own = Py_NewRef(rec->own_ready), *r = PyObject_CallMethodOneArg(own, an_st->s_append, handle);
    Py_DECREF(own);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static PyObject *
pop_own(PyObject *own)
{
    Py_INCREF(own);
    PyObject *h = PyObject_CallMethodNoArgs(own, an_st->s_popleft);
    Py_DECREF(own);
    if (h == NULL && PyErr_ExceptionMatches(PyExc_IndexError)) {
        PyErr_Clear(); /* another stack has run what was counted */
    }
    return h;
}

PyObject *
an_loop_pop(an_loop *rec)
{
    PyObject *h = an_ring_pop(&rec->ready);
    return AN_LIKELY(h != NULL) || rec->own_ready == NULL ? h : pop_own(rec->own_ready);
}

/* A list or a deque can be taken in; anything else is there for a reason (a loop with a queue of its own making). */
int
an_loop_set_ready(an_loop *rec, PyObject *value)
{
    if (value == (PyObject *)rec) {
        Py_CLEAR(rec->own_ready);
    }
    else if (PyList_CheckExact(value) || Py_IS_TYPE(value, (PyTypeObject *)an_st->o_deque) ||
             Py_IS_TYPE(value, (PyTypeObject *)an_st->type_loop)) {
        PyObject *list = PySequence_List(value);
        if (list == NULL) {
            return -1;
        }
        Py_CLEAR(rec->own_ready);
        an_ring_clear(&rec->ready);
        int r = an_ready_extend(rec, list);
        Py_DECREF(list);
        if (r < 0) {
            return -1;
        }
    }
    else {
        Py_XSETREF(rec->own_ready, Py_NewRef(value));
        an_ring_clear(&rec->ready);
    }
    rec->overrides |= an_loop_own_queue(rec);
    return 0;
}

int
an_loop_set_scheduled(an_loop *rec, PyObject *value)
{
    PyObject *list = PyList_Check(value) ? Py_NewRef(value) : PyList_New(0);
    if (list == NULL) {
        return -1;
    }
    PyObject *before = rec->scheduled;
    rec->scheduled = list;
    rec->heap_changes++;
    rec->order = AN_HEAP_SETTLED; /* as asyncio believes */
    Py_XSETREF(rec->own_scheduled, list == value ? NULL : Py_NewRef(value));
    rec->overrides |= an_loop_own_queue(rec);
    Py_XDECREF(before);
    return 0;
}

/* ---- the rest of the deque ------------------------------------------------------------ */

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

/* What only looks is done by a real deque. */
static PyObject *
ask_deque(PyObject *self, const char *method, PyObject *args)
{
    PyObject *d = as_deque(self, NULL);
    PyObject *m = d == NULL ? NULL : PyObject_GetAttrString(d, method);
    PyObject *r = m == NULL ? NULL : PyObject_CallObject(m, args);
    Py_XDECREF(m);
    Py_XDECREF(d);
    return r;
}

static PyObject *
ready_count(PyObject *self, PyObject *args)
{
    return ask_deque(self, "count", args);
}

static PyObject *
ready_index(PyObject *self, PyObject *args)
{
    return ask_deque(self, "index", args);
}

static PyObject *
ready_reversed(PyObject *self, PyObject *noargs)
{
    return ask_deque(self, "__reversed__", NULL);
}

/* What changes the order is done in place: no Python runs in between. */
static PyObject *
ready_extendleft(PyObject *self, PyObject *iterable)
{
    PyObject *list = PySequence_List(iterable);
    if (list == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (an_ring_push_front(&REC(self)->ready, PyList_GET_ITEM(list, i)) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    Py_DECREF(list);
    Py_RETURN_NONE;
}

/* The last item goes to the place I. */
static void
move_last_to(an_ring *r, size_t i)
{
    size_t mask = r->cap - 1, last = r->len - 1;
    PyObject *o = an_ring_at(r, last);
    for (; last > i; last--) {
        r->items[(r->head + last) & mask] = an_ring_at(r, last - 1);
    }
    r->items[(r->head + i) & mask] = o;
}

static PyObject *
ready_insert(PyObject *self, PyObject *args)
{
    an_ring *r = &REC(self)->ready;
    Py_ssize_t i;
    PyObject *o;
    if (!PyArg_ParseTuple(args, "nO:insert", &i, &o)) {
        return NULL;
    }
    Py_ssize_t len = (Py_ssize_t)r->len;
    i = i < 0 ? i + len : i;
    i = i < 0 ? 0 : i > len ? len : i;
    if (an_ring_push(r, o) < 0) {
        return NULL;
    }
    move_last_to(r, (size_t)i);
    Py_RETURN_NONE;
}

static PyObject *
ready_rotate(PyObject *self, PyObject *args)
{
    an_ring *r = &REC(self)->ready;
    Py_ssize_t n = 1;
    if (!PyArg_ParseTuple(args, "|n:rotate", &n)) {
        return NULL;
    }
    Py_ssize_t len = (Py_ssize_t)r->len;
    for (n = len == 0 ? 0 : (n % len + len) % len; n > 0; n--) {
        move_last_to(r, 0);
    }
    Py_RETURN_NONE;
}

static PyObject *
ready_reverse(PyObject *self, PyObject *noargs)
{
    an_ring *r = &REC(self)->ready;
    for (size_t i = 0; i + 1 < r->len; i++) {
        move_last_to(r, i);
    }
    Py_RETURN_NONE;
}

/* self[i] = o, del self[i] */
int
an_ready_assign(PyObject *self, Py_ssize_t i, PyObject *o)
{
    an_ring *r = &REC(self)->ready;
    if (i < 0 || (size_t)i >= r->len) {
        PyErr_SetString(PyExc_IndexError, "deque index out of range");
        return -1;
    }
    PyObject *old;
    if (o == NULL) {
        old = an_ring_take(r, (size_t)i);
    }
    else {
        old = an_ring_at(r, (size_t)i);
        r->items[(r->head + (size_t)i) & (r->cap - 1)] = Py_NewRef(o);
    }
    Py_DECREF(old);
    return 0;
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
    {"extendleft", ready_extendleft, METH_O, "extendleft($self, items, /)\n--\n\nAdd handles at the front, one by one."},
    {"insert", ready_insert, METH_VARARGS, "insert($self, index, item, /)\n--\n\nAdd a handle before index."},
    {"rotate", ready_rotate, METH_VARARGS, "rotate($self, n=1, /)\n--\n\nMove the last n handles to the front."},
    {"reverse", ready_reverse, METH_NOARGS, "reverse($self, /)\n--\n\nTurn the order round."},
    {"count", ready_count, METH_VARARGS, "count($self, item, /)\n--\n\nHow many handles are equal to item."},
    {"index", ready_index, METH_VARARGS, "index($self, item, start=0, stop=sys.maxsize, /)\n--\n\nWhere item is."},
    {"__reversed__", ready_reversed, METH_NOARGS, "__reversed__($self, /)\n--\n\nThe handles, newest first."},
    {"copy", as_deque, METH_NOARGS, "copy($self, /)\n--\n\nA collections.deque of the handles."},
    {"__copy__", as_deque, METH_NOARGS, "__copy__($self, /)\n--\n\nA collections.deque of the handles."},
    {NULL, NULL, 0, NULL},
};
