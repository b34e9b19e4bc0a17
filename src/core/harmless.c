#include "harmless.h"
#include "taskset.h"

#include <structmember.h>

static PyCFunction set_discard = NULL;

/* ---- what dies ------------------------------------------------------------ */

#define DYING_MAX 24

typedef struct {
    PyObject *o;
    Py_ssize_t found; /* references to it in what dies */
    int dies;
} an_counted;

typedef struct {
    an_counted all[DYING_MAX];
    int n;
} an_counts;

/* visitproc: 1 there are too many */
static int
count(PyObject *o, void *arg)
{
    an_counts *counts = arg;
    for (int i = 0; i < counts->n; i++) {
        if (counts->all[i].o == o) {
            counts->all[i].found++;
            return 0;
        }
    }
    if (counts->n == DYING_MAX) {
        return 1;
    }
    counts->all[counts->n++] = (an_counted){.o = o, .found = 1};
    return 0;
}

static int
is_told_of(PyObject *o)
{
    Py_ssize_t offset = Py_TYPE(o)->tp_weaklistoffset;
    PyWeakReference *ref = offset == 0 ? NULL : *(PyWeakReference **)(void *)((char *)o + offset);
    for (; ref != NULL; ref = ref->wr_next) {
        if (ref->wr_callback != NULL && !an_task_set_is_discard(ref->wr_callback)) {
            return 1;
        }
    }
    return 0;
}

static int
has_ended(PyObject *coro)
{
    PyObject *frame = PyObject_GetAttr(coro, an_st->s_cr_frame);
    if (frame == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(frame);
    return frame == Py_None;
}

/* Does the end of O itself run nothing? */
static int
ends_quietly(PyObject *o, PyObject *task)
{
    PyTypeObject *tp = Py_TYPE(o);
    return o == task || tp == &PyTuple_Type || tp == &PyCFunction_Type || tp == &PyUnicode_Type || tp == &PyLong_Type ||
           tp == &PyFloat_Type || tp == &PyBytes_Type || PyContext_CheckExact(o) || an_handle_is_plain(o) ||
           (tp == &PyCoro_Type && has_ended(o));
}

/* O2, to the end. 1 O1 holds for all that dies | 0 */
static int
follow(an_counts *counts, PyObject *task)
{
    for (int i = 0; i < counts->n; i++) {
        an_counted *c = &counts->all[i];
        if (c->dies || Py_REFCNT(c->o) > c->found) {
            continue;
        }
        if (!ends_quietly(c->o, task) || is_told_of(c->o)) {
            return 0;
        }
        c->dies = 1;
        traverseproc traverse = Py_TYPE(c->o)->tp_traverse;
        if (traverse != NULL && traverse(c->o, count, counts) != 0) {
            return 0;
        }
        i = -1; /* of one that was passed by the last reference may have been found */
    }
    return 1;
}

/* ---- handles ------------------------------------------------------------ */

/* It has a result, so nothing is said of it when it dies. What an instance has set does not stand before these two */
static int
has_result(PyObject *task)
{
    PyObject *state = PyObject_GetAttr(task, an_st->s__state);
    PyObject *exc = state == NULL ? NULL : PyObject_GetAttr(task, an_st->s__exception);
    int r = exc == Py_None && PyUnicode_Check(state) && PyUnicode_CompareWithASCIIString(state, "FINISHED") == 0;
    if (exc == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(state);
    Py_XDECREF(exc);
    return r;
}

int
an_harmless(PyObject *handle)
{
    if (!an_handle_is_plain(handle) || AN_HSLOT(handle, cancelled) != Py_False) {
        return 0;
    }
    PyObject *callback = AN_HSLOT(handle, callback), *args = AN_HSLOT(handle, args), *context = AN_HSLOT(handle, context);
    if (callback == NULL || !PyCFunction_CheckExact(callback) || PyCFunction_GET_FUNCTION(callback) != set_discard ||
        args == NULL || !PyTuple_CheckExact(args) || PyTuple_GET_SIZE(args) != 1 || context == NULL ||
        !PyContext_CheckExact(context)) {
        return 0;
    }
    PyObject *set = PyCFunction_GET_SELF(callback), *task = PyTuple_GET_ITEM(args, 0);
    if (set == NULL || !PySet_CheckExact(set) || an_st->o_CTask == NULL || !Py_IS_TYPE(task, (PyTypeObject *)an_st->o_CTask) ||
        !has_result(task)) {
        return 0;
    }
    an_counts counts = {.n = 0};
    int holds = PySet_Contains(set, task); /* it is let go of before */
    if (holds < 0) {
        PyErr_Clear();
        return 0;
    }
    (void)count(handle, &counts);
    if (holds) {
        (void)count(task, &counts);
    }
    return follow(&counts, task);
}

int
an_harmless_init(void)
{
    PyObject *set = PySet_New(NULL), *f = set == NULL ? NULL : PyObject_GetAttrString(set, "discard");
    if (f != NULL && PyCFunction_CheckExact(f)) {
        set_discard = PyCFunction_GET_FUNCTION(f);
    }
    Py_XDECREF(f);
    Py_XDECREF(set);
    return f == NULL ? -1 : 0;
}
