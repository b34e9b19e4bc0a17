#include "task.h"
#include "err.h"
#include "layout.h"

PyObject *
an_running_loop(void)
{
    return PyObject_CallNoArgs(an_st->o_get_running_loop);
}

int
an_set_running_loop(PyObject *loop)
{
    PyObject *r = PyObject_CallOneArg(an_st->o_set_running_loop, loop);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

#if AN_PY313

#if AN_PY314
/* Since 3.14 pure Python tasks are current in a dict of their own, C tasks in the thread's state. 1 TASK is put there |
 * 0 it is none of those | -1+exc. With TASK NULL: take the one that is there. */
static int
swap_python_task(PyObject *loop, PyObject *task, PyObject **old)
{
    PyObject *d = an_st->o_current_tasks;
    if (d == NULL || !PyDict_Check(d)) {
        return 0;
    }
    if (task != NULL) {
        if (PyObject_TypeCheck(task, (PyTypeObject *)an_st->o_CTask)) {
            return 0;
        }
        return PyDict_SetItem(d, loop, task) < 0 ? -1 : 1;
    }
    if (PyDict_GET_SIZE(d) == 0 || PyDict_GetItemRef(d, loop, old) <= 0) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return PyDict_DelItem(d, loop) < 0 ? -1 : 1;
}
#endif

int
an_task_swap(PyObject *loop, PyObject *task, PyObject **old)
{
#if AN_PY314
    if (task != NULL && an_st->o_CTask != NULL) {
        int r = swap_python_task(loop, task, old);
        if (r != 0) {
            return r < 0 ? -1 : 0;
        }
    }
#endif
    PyObject *args[2] = {loop, task == NULL ? Py_None : task};
    PyObject *r = PyObject_Vectorcall(an_st->o_swap_current_task, args, 2, NULL);
    if (r == NULL) {
        return -1;
    }
    if (r == Py_None) {
        Py_CLEAR(r);
    }
#if AN_PY314
    if (task == NULL && r == NULL && old != NULL && swap_python_task(loop, NULL, &r) < 0) {
        Py_XDECREF(r);
        return -1;
    }
#endif
    if (old != NULL) {
        *old = r;
    }
    else {
        Py_XDECREF(r);
    }
    return 0;
}

#else

/* up to 3.12 the current tasks are a plain dict, loop -> task (3.12 has a swap, which fails where there is no task) */
int
an_task_swap(PyObject *loop, PyObject *task, PyObject **old)
{
    PyObject *d = an_st->o_current_tasks, *prev = PyDict_GetItemWithError(d, loop);
    if (prev == NULL && PyErr_Occurred()) {
        return -1;
    }
    Py_XINCREF(prev);
    int r = task != NULL ? PyDict_SetItem(d, loop, task) : prev != NULL ? PyDict_DelItem(d, loop) : 0;
    if (r < 0 || old == NULL) {
        Py_XDECREF(prev);
    }
    else {
        *old = prev;
    }
    return r;
}

#endif

static int
is_c_task(PyObject *task)
{
    return an_st->o_CTask != NULL && an_layout_known() && PyObject_TypeCheck(task, (PyTypeObject *)an_st->o_CTask);
}

static int
must_cancel(PyObject *task)
{
    if (is_c_task(task)) {
        return an_layout_must_cancel(task);
    }
    PyObject *v;
    if (PyObject_GetOptionalAttr(task, an_st->s__must_cancel, &v) <= 0) {
        PyErr_Clear();
        return 0;
    }
    int r = v == Py_True;
    Py_DECREF(v);
    return r;
}

static void
clear_must_cancel(PyObject *task)
{
    if (is_c_task(task)) {
        an_layout_clear_must_cancel(task);
    }
    else if (PyObject_SetAttr(task, an_st->s__must_cancel, Py_False) < 0) {
        PyErr_Clear();
    }
}

/* graph of who awaits whom (3.14), for asyncio's call graph tools: never worth an error */
static void
graph(PyObject *f, PyObject *future, PyObject *task)
{
    if (f != NULL) {
        PyObject *args[2] = {future, task};
        PyObject *r = PyObject_Vectorcall(f, args, 2, NULL);
        if (r == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(r);
    }
}

int
an_task_runs(PyObject *task)
{
    PyObject *exc = PyErr_GetRaisedException(), *running = NULL;
    PyObject *coro = PyObject_CallMethodNoArgs(task, an_st->s_get_coro);
    if (coro != NULL && PyCoro_CheckExact(coro)) { /* of others than Python's own coroutines it is not known */
        running = PyObject_GetAttr(coro, an_st->s_cr_running);
    }
    int r = running != Py_False;
    Py_XDECREF(running);
    Py_XDECREF(coro);
    PyErr_SetRaisedException(exc); /* a task of somebody's own making may have no get_coro() */
    return r;
}

int
an_task_amid_finalizer(PyObject *task, PyObject *frame)
{
    if (an_st->h_amid_finalizer == NULL) {
        return 0;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *args[2] = {task == NULL ? Py_None : task, frame};
    PyObject *r = PyObject_Vectorcall(an_st->h_amid_finalizer, args, frame == NULL ? 1 : 2, NULL);
    int amid = r == Py_True;
    if (r == NULL) {
        PyErr_WriteUnraisable(an_st->h_amid_finalizer);
    }
    Py_XDECREF(r);
    PyErr_SetRaisedException(exc);
    return amid;
}

int
an_task_wait_for(PyObject *task, PyObject *future)
{
    if (is_c_task(task)) {
        if (an_layout_waiter(task) != NULL) {
            PyErr_SetString(PyExc_SystemError, "T1: the task waits for something already");
            return -1;
        }
        an_layout_set_waiter(task, future);
    }
    else if (PyObject_SetAttr(task, an_st->s__fut_waiter, future) < 0) {
        PyErr_Clear(); /* a task of somebody's own making: it has no way to be told */
    }
    graph(an_st->o_awaited_by_add, future, task);
    if (must_cancel(task) && !an_task_amid_finalizer(task, NULL)) {
        PyObject *r = PyObject_CallMethodNoArgs(future, an_st->s_cancel);
        int accepted = r == NULL ? -1 : PyObject_IsTrue(r);
        Py_XDECREF(r);
        if (accepted < 0) {
            an_task_wait_over(task, future);
            return -1;
        }
        if (accepted) {
            clear_must_cancel(task);
        }
    }
    return 0;
}

void
an_task_wait_over(PyObject *task, PyObject *future)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (is_c_task(task)) {
        if (an_layout_waiter(task) == future) {
            an_layout_clear_waiter(task);
        }
    }
    else if (PyObject_SetAttr(task, an_st->s__fut_waiter, Py_None) < 0) {
        PyErr_Clear();
    }
    graph(an_st->o_awaited_by_discard, future, task);
    PyErr_SetRaisedException(exc);
}

int
an_task_honour_cancel(PyObject *task)
{
    if (!must_cancel(task) || !an_task_runs(task) || an_task_amid_finalizer(task, NULL)) {
        return 0;
    }
    clear_must_cancel(task);
    PyObject *exc = PyObject_CallMethodNoArgs(task, an_st->s__make_cancelled_error);
    if (exc == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        exc = PyObject_CallNoArgs(an_st->o_CancelledError);
        if (exc == NULL) {
            return -1;
        }
    }
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
    return -1;
}

void
an_task_forget_taken_back(PyObject *task)
{
    if (AN_LIKELY(!must_cancel(task)) || !an_task_amid_finalizer(task, NULL)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException(), *n = PyObject_CallMethodNoArgs(task, an_st->s_cancelling);
    if (n != NULL && PyLong_Check(n) && PyLong_AsLong(n) == 0) {
        clear_must_cancel(task);
    }
    Py_XDECREF(n);
    PyErr_SetRaisedException(exc); /* a task of somebody's own making may have no cancelling() */
}

/* ---- contexts ------------------------------------------------------------ */

PyObject *
an_copy_context(void)
{
    int was = AN_COLLECTOR_OFF();
    PyObject *copy = PyContext_CopyCurrent();
    AN_COLLECTOR_BACK(was);
    return copy;
}

static int
remember(an_contexts *c, PyObject *context)
{
    if (c->n == c->cap) {
        int cap = c->cap * 2;
        PyObject **items = PyMem_New(PyObject *, (size_t)cap);
        if (items == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        for (int i = 0; i < c->n; i++) {
            items[i] = c->items[i];
        }
        if (c->items != c->inline_items) {
            PyMem_Free(c->items);
        }
        c->items = items;
        c->cap = cap;
    }
    c->items[c->n++] = Py_NewRef(context);
    return 0;
}

int
an_contexts_leave(an_contexts *c)
{
    c->items = c->inline_items;
    c->n = 0;
    c->cap = 2;
    PyObject *context;
    while ((context = an_current_context()) != NULL) {
        if (remember(c, context) < 0) {
            PyObject *exc = PyErr_GetRaisedException();
            if (an_contexts_enter(c) < 0) {
                PyErr_Clear();
            }
            PyErr_SetRaisedException(exc);
            return -1;
        }
        if (PyContext_Exit(context) < 0) {
            /* the thread's own bottom context: current without having been entered */
            PyErr_Clear();
            Py_DECREF(c->items[--c->n]);
            break;
        }
    }
    return 0;
}

int
an_contexts_enter(an_contexts *c)
{
    int rc = 0;
    while (c->n > 0) {
        PyObject *context = c->items[--c->n];
        if (rc == 0 && PyContext_Enter(context) < 0) {
            rc = -1;
        }
        Py_DECREF(context);
    }
    if (c->items != c->inline_items) {
        PyMem_Free(c->items);
    }
    c->items = c->inline_items;
    return rc;
}
