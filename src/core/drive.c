#include "drive.h"
#include "err.h"
#include "nested.h"
#include "poll.h"

/* The iterator that an `await` would use. new ref | NULL+exc */
static PyObject *
iterator(PyObject *awaitable)
{
    if (PyCoro_CheckExact(awaitable)) {
        return Py_NewRef(awaitable);
    }
    PyTypeObject *tp = Py_TYPE(awaitable);
    if (PyGen_CheckExact(awaitable)) {
        PyObject *code = PyObject_GetAttrString(awaitable, "gi_code");
        int ok = code != NULL && (((PyCodeObject *)code)->co_flags & CO_ITERABLE_COROUTINE);
        Py_XDECREF(code);
        if (ok) {
            return Py_NewRef(awaitable);
        }
    }
    else if (tp->tp_as_async != NULL && tp->tp_as_async->am_await != NULL) {
        PyObject *it = tp->tp_as_async->am_await(awaitable);
        if (it != NULL && !PyIter_Check(it) && !PyCoro_CheckExact(it)) {
            PyErr_Format(PyExc_TypeError, "__await__() returned non-iterator of type '%.100s'", Py_TYPE(it)->tp_name);
            Py_CLEAR(it);
        }
        return it;
    }
    if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "an awaitable was expected, not %.200s", tp->tp_name);
    }
    return NULL;
}

/* throw(exc) with the result convention of PyIter_Send; EXC is stolen */
static PySendResult
throw_in(PyObject *it, PyObject *exc, PyObject **result)
{
    PyObject *f;
    *result = NULL;
    int found = PyObject_GetOptionalAttr(it, an_st->s_throw, &f);
    if (found < 0) {
        Py_DECREF(exc);
        return PYGEN_ERROR;
    }
    if (found == 0) {
        PyErr_SetRaisedException(exc);
        return PYGEN_ERROR;
    }
    *result = PyObject_CallOneArg(f, exc);
    Py_DECREF(f);
    Py_DECREF(exc);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    *result = PyObject_GetAttrString(stop, "value");
    Py_DECREF(stop);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* A bare yield: let the loop go round once. 0 | -1+exc. MAY SWITCH */
static int
yield_once(an_thread *th, an_loop *rec, PyObject *loop)
{
    if (rec->ready.len == 0 && an_suspend_avoidable(th, rec)) {
        /* The wake-up would be the first and only handle of the next iteration: all that would happen before it is the
         * poll, and what the poll finds comes after it. */
        PyObject *task = NULL;
        int runs = rec->inplace + 1;
        if (an_loop_poll(rec, loop, 0) < 0) {
            return -1;
        }
        rec->inplace = runs;
        if (an_task_swap(loop, NULL, &task) < 0) {
            return -1;
        }
        int rc = 0;
        if (task != NULL) {
            rc = an_task_swap(loop, task, NULL) < 0 || an_task_honour_cancel(task) < 0 ? -1 : 0;
            Py_DECREF(task);
        }
        return rc;
    }
    return an_suspend(th, rec, loop, NULL, AN_KIND_PLAIN, NULL);
}

static PyObject *
current_task(PyObject *loop)
{
    PyObject *task = NULL;
    if (an_task_swap(loop, NULL, &task) < 0 || (task != NULL && an_task_swap(loop, task, NULL) < 0)) {
        Py_CLEAR(task);
    }
    return task;
}

/* As the end of Task.__step: what a coroutine may yield. 0 done waiting | -1+exc to be thrown into it. MAY SWITCH */
static int
wait_for_yielded(an_thread *th, an_loop *rec, PyObject *loop, PyObject *y, int *interrupts)
{
    an_state *st = an_st;
    PyObject *blocking = NULL;
    if (y == Py_None) {
        return yield_once(th, rec, loop);
    }
    if (PyObject_GetOptionalAttr(y, st->s__asyncio_future_blocking, &blocking) < 0) {
        return -1;
    }
    if (blocking == NULL || blocking == Py_None) {
        Py_XDECREF(blocking);
        PyErr_Format(PyExc_RuntimeError, "aionest.await_ got bad yield: %R", y);
        return -1;
    }
    int yes = PyObject_IsTrue(blocking);
    Py_DECREF(blocking);
    if (yes <= 0) {
        if (yes == 0) {
            PyErr_Format(PyExc_RuntimeError, "yield was used instead of yield from in aionest.await_ with %R", y);
        }
        return -1;
    }
    PyObject *its = PyObject_CallMethodNoArgs(y, st->s_get_loop);
    if (its == NULL) {
        return -1;
    }
    Py_DECREF(its);
    if (its != loop) {
        PyErr_Format(PyExc_RuntimeError, "aionest.await_ got Future %R attached to a different loop", y);
        return -1;
    }
    PyObject *task = current_task(loop);
    if (task == NULL && PyErr_Occurred()) {
        return -1;
    }
    Py_XDECREF(task);
    if (task == y) {
        PyErr_Format(PyExc_RuntimeError, "Task cannot await on itself: %R", y);
        return -1;
    }
    if (PyObject_SetAttr(y, st->s__asyncio_future_blocking, Py_False) < 0) {
        return -1;
    }
    int n = 0, rc = an_suspend(th, rec, loop, y, AN_KIND_AWAIT, &n);
    *interrupts += n;
    if (rc < 0) {
        return -1;
    }
    /* as Task.__wakeup: an exception of the future is thrown in, its result is fetched by the future's own iterator */
    PyObject *r = PyObject_CallMethodNoArgs(y, st->s_result);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static inline void
forget_taken_back(PyObject *loop)
{
#if AN_PY311 && !AN_PY313
    PyObject *exc = PyErr_GetRaisedException(), *task = current_task(loop);
    if (task != NULL) {
        an_task_forget_taken_back(task);
        Py_DECREF(task);
    }
    PyErr_SetRaisedException(exc);
#endif
}

static PyObject *
drive(an_thread *th, an_loop *rec, PyObject *loop, PyObject *it)
{
    PyObject *y = NULL;
    int interrupts = 0;
    const long long switches = an_st->n_switches;
    PySendResult s = PyIter_Send(it, Py_None, &y);
    while (s == PYGEN_NEXT) {
        int rc = wait_for_yielded(th, rec, loop, y, &interrupts);
        Py_CLEAR(y);
        s = rc == 0 ? PyIter_Send(it, Py_None, &y) : throw_in(it, PyErr_GetRaisedException(), &y);
    }
    if (an_st->n_switches != switches) { /* it has waited, maybe in a nested run of its own */
        forget_taken_back(loop);
    }
    if (s == PYGEN_ERROR) {
        an_nested_cancelled(loop);
        an_nested_interrupted(th, Py_None, interrupts);
    }
    return s == PYGEN_RETURN ? y : NULL;
}

PyObject *
an_py_await(PyObject *module, PyObject *awaitable)
{
    PyObject *loop = NULL, *r = NULL;
    an_loop *rec = NULL;
    int running = an_nested_loop(&loop, &rec);
    if (running <= 0) {
        if (running == 0) {
            an_nested_no_loop("await_()");
        }
        an_err_close_coro(awaitable);
        return NULL;
    }
    an_thread *th = an_thread_get();
    PyObject *it = th == NULL ? NULL : iterator(awaitable);
    if (it == NULL) {
        an_err_close_coro(awaitable);
    }
    else {
        r = drive(th, rec, loop, it);
        Py_DECREF(it);
    }
    Py_DECREF(loop);
    return r;
}
