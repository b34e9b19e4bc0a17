#include "layout.h"

#include <stddef.h>

static Py_ssize_t waiter_offset = -1, cancel_offset = -1;
static unsigned char cancel_mask = 0;

static PyObject **
waiter_slot(PyObject *task)
{
    return (PyObject **)((char *)task + waiter_offset);
}

static PyObject *
unknown(const char *what)
{
    PyErr_Format(PyExc_ImportError,
                 "aionest cannot find %s in this build's _asyncio.Task (Python %s). Nothing was changed. "
                 "Please report it with the output of: python -VV",
                 what, Py_GetVersion());
    return NULL;
}

static int
getter_is(PyObject *task, PyObject *name, PyObject *expected)
{
    PyObject *v = PyObject_GetAttr(task, name);
    int r = v == expected;
    Py_XDECREF(v);
    if (v == NULL) {
        return -1;
    }
    return r;
}

/* Where WAITING keeps FUTURE and FRESH nothing | -1+exc */
static Py_ssize_t
find_waiter(PyObject *waiting, PyObject *future, PyObject *fresh)
{
    Py_ssize_t size = ((PyTypeObject *)an_st->o_CTask)->tp_basicsize, found = -1;
    for (Py_ssize_t off = (Py_ssize_t)sizeof(PyObject); off + (Py_ssize_t)sizeof(void *) <= size;
         off += (Py_ssize_t)sizeof(void *)) {
        if (*(PyObject **)((char *)waiting + off) == future) {
            if (found >= 0) {
                unknown("one place of the awaited future");
                return -1;
            }
            found = off;
        }
    }
    if (found < 0 || *(PyObject **)((char *)fresh + found) != NULL || getter_is(waiting, an_st->s__fut_waiter, future) != 1) {
        PyErr_Clear();
        unknown("the awaited future");
        return -1;
    }
    return found;
}

/* 1 if the bits M at A, a byte of CANCELLED, are what its _must_cancel tells | 0 | -1+exc */
static int
is_flag(PyObject *cancelled, unsigned char *a, unsigned char m)
{
    *a = (unsigned char)(*a & ~m);
    int off_now = getter_is(cancelled, an_st->s__must_cancel, Py_False);
    *a |= m;
    int on_now = getter_is(cancelled, an_st->s__must_cancel, Py_True);
    return off_now < 0 || on_now < 0 ? -1 : off_now && on_now;
}

/* Where CANCELLED, and not FRESH, has its flag set, and *BIT of that byte | -1+exc */
static Py_ssize_t
find_flag(PyObject *cancelled, PyObject *fresh, unsigned char *bit)
{
    Py_ssize_t size = ((PyTypeObject *)an_st->o_CTask)->tp_basicsize, found = -1;
    for (Py_ssize_t off = (Py_ssize_t)sizeof(PyObject); off < size; off++) {
        unsigned char *a = (unsigned char *)cancelled + off, b = *((unsigned char *)fresh + off);
        unsigned char differs = (unsigned char)(*a & ~b);
        for (int i = 0; i < 8; i++) {
            unsigned char m = (unsigned char)(1 << i);
            int is = differs & m ? is_flag(cancelled, a, m) : 0;
            if (is < 0) {
                return -1;
            }
            if (is && found >= 0) {
                unknown("one place of the cancellation flag");
                return -1;
            }
            if (is) {
                found = off;
                *bit = m;
            }
        }
    }
    if (found < 0) {
        unknown("the cancellation flag");
    }
    return found;
}

PyObject *
an_layout_probe(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyTypeObject *type = (PyTypeObject *)an_st->o_CTask;
    if (nargs != 4 || type == NULL || !PyObject_TypeCheck(args[0], type) || !PyObject_TypeCheck(args[2], type) ||
        !PyObject_TypeCheck(args[3], type)) {
        PyErr_SetString(PyExc_TypeError, "_probe(waiting_task, future, cancelled_task, fresh_task)");
        return NULL;
    }
    PyObject *waiting = args[0], *future = args[1], *cancelled = args[2], *fresh = args[3];
    unsigned char bit = 0;
    Py_ssize_t waiter_at = find_waiter(waiting, future, fresh),
               flag_at = waiter_at < 0 ? -1 : find_flag(cancelled, fresh, &bit);
    if (flag_at < 0) {
        return NULL;
    }
    waiter_offset = waiter_at;
    cancel_offset = flag_at;
    cancel_mask = bit;
    return Py_BuildValue("nni", waiter_at, flag_at, (int)bit);
}

int
an_layout_known(void)
{
    return waiter_offset >= 0;
}

void
an_layout_set_waiter(PyObject *task, PyObject *future)
{
    *waiter_slot(task) = Py_NewRef(future);
}

void
an_layout_clear_waiter(PyObject *task)
{
    PyObject *old = *waiter_slot(task);
    *waiter_slot(task) = NULL;
    Py_XDECREF(old);
}

PyObject *
an_layout_waiter(PyObject *task)
{
    return *waiter_slot(task);
}

int
an_layout_must_cancel(PyObject *task)
{
    return (*((unsigned char *)task + cancel_offset) & cancel_mask) != 0;
}

void
an_layout_clear_must_cancel(PyObject *task)
{
    unsigned char *p = (unsigned char *)task + cancel_offset;
    *p = (unsigned char)(*p & ~cancel_mask);
}
