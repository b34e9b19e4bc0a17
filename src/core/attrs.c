#include "attrs.h"
#include "err.h"
#include "heap.h"
#include "ready.h"

#include <stddef.h>

static PyObject *
get_ready(PyObject *self, void *closure)
{
    an_loop *rec = an_loop_get(self);
    return Py_XNewRef(rec != NULL && rec->own_ready != NULL ? rec->own_ready : (PyObject *)rec);
}

static int
no_delete(PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "an event loop needs this attribute: it cannot be deleted");
        return -1;
    }
    return 0;
}

static int
set_ready(PyObject *self, PyObject *value, void *closure)
{
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || no_delete(value) < 0) {
        return -1;
    }
    return an_loop_set_ready(rec, value);
}

static PyObject *
get_scheduled(PyObject *self, void *closure)
{
    an_loop *rec = an_loop_get(self);
    if (rec == NULL) {
        return NULL;
    }
    if (rec->mending == 0 && an_heap_settle(rec) < 0) { /* asyncio's own code looks at the first one, too */
        if (an_err_is_exit()) {
            return NULL;
        }
        PyErr_Clear(); /* the loop will raise it; the list can be mended */
    }
    return Py_NewRef(rec->own_scheduled != NULL ? rec->own_scheduled : rec->scheduled);
}

static int
set_scheduled(PyObject *self, PyObject *value, void *closure)
{
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || no_delete(value) < 0) {
        return -1;
    }
    return an_loop_set_scheduled(rec, value);
}

/* closure: offset of an int member */
static PyObject *
get_flag(PyObject *self, void *closure)
{
    an_loop *rec = an_loop_get(self);
    return rec == NULL ? NULL : PyBool_FromLong(*(int *)((char *)rec + (Py_ssize_t)closure));
}

static int
set_flag(PyObject *self, PyObject *value, void *closure)
{
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || no_delete(value) < 0) {
        return -1;
    }
    int v = PyObject_IsTrue(value);
    if (v < 0) {
        return -1;
    }
    *(int *)((char *)rec + (Py_ssize_t)closure) = v;
    return 0;
}

static int
set_stopping(PyObject *self, PyObject *value, void *closure)
{
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || no_delete(value) < 0) {
        return -1;
    }
    int v = PyObject_IsTrue(value);
    if (v < 0) {
        return -1;
    }
    rec->stopping = v ? AN_STOP_USER : AN_STOP_NO;
    return 0;
}

static PyObject *
get_count(PyObject *self, void *closure)
{
    an_loop *rec = an_loop_get(self);
    return rec == NULL ? NULL : PyLong_FromSsize_t(rec->timer_cancelled_count);
}

static int
set_count(PyObject *self, PyObject *value, void *closure)
{
    an_loop *rec = an_loop_get(self);
    if (rec == NULL || no_delete(value) < 0) {
        return -1;
    }
    Py_ssize_t v = PyLong_AsSsize_t(value);
    if (v == -1 && PyErr_Occurred()) {
        return -1;
    }
    rec->timer_cancelled_count = v;
    return 0;
}

PyGetSetDef an_loop_attrs[] = {
    {"_ready", get_ready, set_ready, "The handles to run, as a deque.", NULL},
    {"_scheduled", get_scheduled, set_scheduled, "The heap of timers.", NULL},
    {"_closed", get_flag, set_flag, "True once the loop is closed.", (void *)offsetof(an_loop, closed)},
    {"_debug", get_flag, set_flag, "True in debug mode.", (void *)offsetof(an_loop, debug)},
    {"_stopping", get_flag, set_stopping, "True when the loop ends after this iteration.", (void *)offsetof(an_loop, stopping)},
    {"_timer_cancelled_count", get_count, set_count, "Cancelled timers in the heap.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Lock, Event, Queue and their like ask this each time they have to wait. */
static PyObject *
mixin_get_loop(PyObject *self, PyObject *noargs)
{
    PyObject *running = PyObject_CallNoArgs(an_st->o_get_running_loop), *bound;
    if (running == NULL) {
        return NULL;
    }
    if (running != Py_None && PyObject_GetOptionalAttr(self, an_st->s__loop, &bound) > 0) {
        Py_DECREF(bound);
        if (bound == running) {
            return running;
        }
    }
    Py_DECREF(running);
    return PyErr_Occurred() ? NULL : PyObject_CallOneArg(an_st->stock_get_loop, self);
}

PyMethodDef an_mixin_methods[] = {
    {"_get_loop", mixin_get_loop, METH_NOARGS, "_get_loop($self, /)\n--\n\nThe loop that this object is bound to."},
    {NULL, NULL, 0, NULL},
};
