#include "nested.h"
#include "create.h"
#include "driver.h"
#include "err.h"
#include "handle.h"
#include "imports.h"
#include "poll.h"
#include "task.h"

#define AN_INPLACE_DEPTH 1

int
an_nested_loop(PyObject **loop, an_loop **rec)
{
    PyObject *running = an_running_loop();
    if (running == NULL) {
        return -1;
    }
    if (running == Py_None) {
        Py_DECREF(running);
        return 0;
    }
    *rec = an_loop_get(running);
    if (*rec == NULL) {
        Py_DECREF(running);
        return -1;
    }
    *loop = running;
    return 1;
}

static int
is_done(PyObject *future)
{
    PyObject *r = PyObject_CallMethodNoArgs(future, an_st->s_done);
    int done = r == NULL ? -1 : r == Py_True ? 1 : PyObject_IsTrue(r);
    Py_XDECREF(r);
    return done;
}

/* 1 if the future that an exception came out of holds that exception, which is then cleared */
static int
belongs_to(PyObject *future)
{
    PyObject *exc = PyErr_GetRaisedException(), *v = NULL;
    int r = PyObject_GetOptionalAttr(future, an_st->s__exception, &v) > 0 && v == exc;
    PyErr_Clear();
    Py_XDECREF(v);
    if (r) {
        Py_DECREF(exc);
    }
    else {
        PyErr_SetRaisedException(exc);
    }
    return r;
}

/* RC, what FUTURE's step has come to, is the outcome, unless the way back fails: then -1 is. The first exception stays. */
static int
and_then(int rc, int next, PyObject *exc)
{
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return next < 0 ? -1 : rc;
}

/* Run the one ready handle, a step of FUTURE. 0 | -1+exc, which is not FUTURE's own. MAY SWITCH (in the step) */
static int
run_ready(an_loop *rec, PyObject *future)
{
    PyObject *h = an_ring_pop(&rec->ready);
    if (h == NULL) {
        return 0;
    }
    int cancelled = an_handle_cancelled(h), rc = cancelled == 0 ? an_handle_run(h) : cancelled < 0 ? -1 : 0;
    if (rc < 0 && belongs_to(future)) {
        rc = 0;
    }
    PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
    Py_DECREF(h);
    return and_then(rc, 0, exc);
}

/* The same between contexts of its own, for a stack that might have slept instead. 0 | -1+exc. MAY SWITCH (in the step) */
static int
run_apart(an_thread *th, an_loop *rec, PyObject *future)
{
    an_contexts contexts;
    if (an_contexts_leave(&contexts) < 0) {
        return -1;
    }
    th->place.inplace_depth++;
    rec->inplace++;
    an_st->n_inplace++;
    int rc = run_ready(rec, future);
    th->place.inplace_depth--;
    PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
    return and_then(rc, an_contexts_enter(&contexts), exc);
}

/* The same while TASK, or NULL, the current one, waits for FUTURE. 0 | -1+exc. MAY SWITCH (in the step) */
static int
run_for_task(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future, PyObject *task)
{
    if (task == NULL) {
        return run_apart(th, rec, future);
    }
    if (AN_LIKELY(an_task_runs(task))) {
        if (an_task_wait_for(task, future) < 0) {
            return -1;
        }
        int rc = run_apart(th, rec, future);
        an_task_wait_over(task, future);
        return rc;
    }
    an_step *step = an_steps_enter(task); /* the step that is run here may sleep */
    if (step == NULL) {
        return -1;
    }
    int rc = run_apart(th, rec, future);
    an_steps_leave(step, loop);
    return rc;
}

/* Run the one ready handle, a step of FUTURE, on this stack. 1 FUTURE is done and nothing else became ready: the
 * wait is over | 0 leave the stack after all | -1+exc. MAY SWITCH (in the step) */
static int
step_in_place(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future)
{
    PyObject *task = NULL;
    if (an_task_swap(loop, NULL, &task) < 0) {
        return -1;
    }
    int rc = run_for_task(th, rec, loop, future, task);
    if (task != NULL) {
        PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
        rc = and_then(rc, an_task_swap(loop, task, NULL), exc);
    }
    if (rc == 0) {
        int done = is_done(future);
        rc = done < 0 ? -1 : done && rec->ready.len == 0 && th->pending.len == 0;
        if (rc > 0 && task != NULL && an_task_honour_cancel(task) < 0) {
            rc = -1;
        }
    }
    Py_XDECREF(task);
    return rc;
}

/* The run was interrupted or ended before its future: let go of that. Keeps the current exception. */
static void
abandon(an_loop *rec, PyObject *future, an_block_kind kind)
{
    PyObject *exc = PyErr_GetRaisedException(), *r = NULL;
    int done = is_done(future);
    if (done == 0) {
        if (PyObject_SetAttr(future, an_st->s__log_destroy_pending, Py_False) < 0) {
            PyErr_Clear(); /* a plain future has no such flag */
        }
        if (kind == AN_KIND_RUN && !rec->closed) {
            r = PyObject_CallMethodNoArgs(future, an_st->s_cancel);
            if (r == NULL) {
                PyErr_WriteUnraisable(future);
            }
        }
    }
    PyErr_Clear();
    Py_XDECREF(r);
    PyErr_SetRaisedException(exc);
}

static void
keyboard_interrupt(PyObject *future)
{
    PyObject *exc = PyErr_GetRaisedException(), *uncancel = NULL;
    long left = 0; /* plain futures do not count, nor do tasks before 3.11 */
    if (PyObject_GetOptionalAttr(future, an_st->s_uncancel, &uncancel) > 0) {
        PyObject *r = PyObject_CallNoArgs(uncancel);
        left = r == NULL ? 1 : PyLong_AsLong(r);
        Py_XDECREF(r);
    }
    PyErr_Clear();
    Py_XDECREF(uncancel);
    if (left == 0) {
        Py_DECREF(exc);
        PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
    else {
        PyErr_SetRaisedException(exc);
    }
}

void
an_nested_interrupted(an_thread *th, PyObject *future, int interrupts)
{
    if ((interrupts <= 0 && (!an_st->interrupted || !th->is_main)) || !PyErr_ExceptionMatches(an_st->o_CancelledError)) {
        return;
    }
    if (interrupts > 0) {
        keyboard_interrupt(future);
        return;
    }
    PyObject *exc = PyErr_GetRaisedException(), *args = NULL, *both = NULL;
    if (Py_IS_TYPE(exc, (PyTypeObject *)an_st->o_CancelledError) && (args = PyObject_GetAttr(exc, an_st->s_args)) != NULL &&
        PyTuple_Check(args) && PyTuple_GET_SIZE(args) == 0) {
        an_err("Interrupted", "");
        both = PyErr_GetRaisedException();
        PyObject *tb = PyException_GetTraceback(exc);
        if (tb != NULL && PyException_SetTraceback(both, tb) < 0) {
            PyErr_Clear();
        }
        Py_XDECREF(tb);
    }
    PyErr_Clear();
    Py_XDECREF(args);
    if (both != NULL) {
        Py_DECREF(exc);
    }
    PyErr_SetRaisedException(both != NULL ? both : exc);
}

void
an_nested_cancelled(PyObject *loop)
{
    if (AN_LIKELY(!PyErr_ExceptionMatches(an_st->o_CancelledError)) || an_st->h_cancelled == NULL) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException(), *task = NULL;
    if (an_task_swap(loop, NULL, &task) < 0 || (task != NULL && an_task_swap(loop, task, NULL) < 0)) {
        PyErr_WriteUnraisable(loop);
    }
    else if (task != NULL && an_task_runs(task)) {
        PyObject *args[2] = {task, exc};
        PyObject *r = PyObject_Vectorcall(an_st->h_cancelled, args, 2, NULL);
        if (r == NULL) {
            PyErr_WriteUnraisable(an_st->h_cancelled);
        }
        Py_XDECREF(r);
    }
    Py_XDECREF(task);
    PyErr_SetRaisedException(exc);
}

/* True if the caller is handling an exception: another task's step must not see it as its own context. */
static int
handles_exception(void)
{
    PyObject *type, *value, *tb;
    PyErr_GetExcInfo(&type, &value, &tb);
    int r = value != NULL && value != Py_None;
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(tb);
    return r;
}

/* 1 if the only ready handle is a step of FUTURE itself. Another one must not run on this stack: it could put itself to
 * sleep on top of us, and wait for what we do once FUTURE is done. */
static int
own_step(an_loop *rec, PyObject *future)
{
    PyObject *h = rec->ready.len == 1 ? an_ring_at(&rec->ready, 0) : NULL, *self = NULL;
    if (h == NULL || !an_handle_is_plain(h) || AN_HSLOT(h, callback) == NULL) {
        return 0;
    }
    PyObject *callback = Py_NewRef(AN_HSLOT(h, callback));
    if (PyObject_GetOptionalAttr(callback, an_st->s___self__, &self) < 0) {
        PyErr_Clear();
    }
    Py_DECREF(callback);
    Py_XDECREF(self);
    return self == future;
}

PyObject *
an_nested_wait(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future, an_block_kind kind, int try_in_place)
{
    int interrupts = 0, done = is_done(future);
    if (done < 0) {
        return NULL;
    }
    if (!done && try_in_place && th->place.inplace_depth < AN_INPLACE_DEPTH && an_suspend_avoidable(th, rec) &&
        own_step(rec, future) && !handles_exception()) {
        int due = an_loop_timer_due(rec, loop);
        if (due < 0) {
            return NULL;
        }
        if (!due) {
            done = step_in_place(th, rec, loop, future);
            if (done < 0) {
                abandon(rec, future, kind);
                return NULL;
            }
        }
    }
    if (!done && an_suspend(th, rec, loop, future, kind, &interrupts) < 0) {
        abandon(rec, future, kind);
        an_nested_interrupted(th, future, 0);
        return NULL;
    }
    PyObject *r = PyObject_CallMethodNoArgs(future, an_st->s_result);
    if (r == NULL) {
        an_nested_cancelled(loop);
        an_nested_interrupted(th, future, interrupts);
    }
    return r;
}

/* ---- Python ------------------------------------------------------------ */

PyObject *
an_py_run_nested(PyObject *module, PyObject *main)
{
    PyObject *loop = NULL, *task = NULL, *r = NULL;
    an_loop *rec = NULL;
    if (!PyCoro_CheckExact(main)) {
        Py_RETURN_NOTIMPLEMENTED; /* odd arguments and checks: the Python side */
    }
    int running = an_imports_check() < 0 ? -1 : an_nested_loop(&loop, &rec);
    if (running <= 0) {
        if (running < 0) {
            an_err_close_coro(main);
            return NULL;
        }
        Py_RETURN_NOTIMPLEMENTED;
    }
    an_thread *th = an_driver_check(rec, loop) < 0 ? NULL : an_thread_get();
    if (th != NULL) {
        task = an_create_task(rec, loop, main);
    }
    if (task == NULL) {
        an_err_close_coro(main);
    }
    else {
        r = an_nested_wait(th, rec, loop, task, AN_KIND_RUN, 1);
        Py_DECREF(task);
    }
    Py_DECREF(loop);
    return r;
}

static int
check_future(PyObject *future, PyObject *loop)
{
    PyObject *r = PyObject_CallOneArg(an_st->o_isfuture, future);
    if (r == NULL) {
        return -1;
    }
    int yes = PyObject_IsTrue(r);
    Py_DECREF(r);
    if (yes <= 0) {
        if (yes == 0) {
            PyErr_Format(PyExc_TypeError,
                         "an asyncio future or task was expected, not %.200s: for a coroutine use aionest.run() or "
                         "aionest.await_()",
                         Py_TYPE(future)->tp_name);
        }
        return -1;
    }
    PyObject *its = PyObject_CallMethodNoArgs(future, an_st->s_get_loop);
    if (its == NULL) {
        return -1;
    }
    int same = its == loop;
    Py_DECREF(its);
    if (!same) {
        an_err("NestedRunError",
               "%R belongs to a different event loop: wait for it on its own loop, for example "
               "with asyncio.run_coroutine_threadsafe()",
               future);
        return -1;
    }
    return 0;
}

void
an_nested_no_loop(const char *what)
{
    /* other code than asyncio's may know of one (trio-asyncio puts its own functions into asyncio) */
    PyObject *ask = an_import_attr("asyncio.events", "_get_running_loop");
    PyObject *loop = ask == NULL ? NULL : PyObject_CallNoArgs(ask);
    Py_XDECREF(ask);
    if (loop != NULL && loop != Py_None) {
        an_err_foreign_loop(loop, "it is reported as running here by something other than asyncio");
    }
    if (loop == NULL || loop != Py_None) {
        Py_XDECREF(loop);
        return;
    }
    Py_DECREF(loop);
    an_err("NestedRunError", "%s needs a running event loop in this thread: use aionest.run() or asyncio.run() where none runs",
           what);
}

static PyObject *
wait_for_future(PyObject *future, an_block_kind kind)
{
    PyObject *loop = NULL, *r = NULL;
    an_loop *rec = NULL;
    int running = an_nested_loop(&loop, &rec);
    if (running <= 0) {
        if (running == 0) {
            an_nested_no_loop("block_on()");
        }
        an_err_close_coro(future);
        return NULL;
    }
    an_thread *th = an_thread_get();
    if (th != NULL && check_future(future, loop) == 0) {
        r = an_nested_wait(th, rec, loop, future, kind, 1);
    }
    else {
        an_err_close_coro(future);
    }
    Py_DECREF(loop);
    return r;
}

PyObject *
an_py_block_on(PyObject *module, PyObject *future)
{
    return wait_for_future(future, AN_KIND_PLAIN);
}

PyObject *
an_py_wait_nested(PyObject *module, PyObject *future)
{
    return wait_for_future(future, AN_KIND_AWAIT);
}
