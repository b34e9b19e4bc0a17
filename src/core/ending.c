#include "ending.h"
#include "err.h"
#include "fiber.h"
#include "runs.h"

/* B ended with EXC, which was made for that. Who interrupts a run and closes its loop knows that what slept there was not
 * completed: a task that is left with just that says nothing. */
static void
keep_quiet(an_block *b, PyObject *exc)
{
    PyObject *outcome = NULL;
    if (!b->left || b->task == NULL || exc == NULL) {
        return;
    }
    if (PyObject_GetOptionalAttr(b->task, an_st->s__exception, &outcome) > 0 && outcome == exc &&
        PyObject_SetAttr(b->task, an_st->s__log_traceback, Py_False) < 0) {
        PyErr_WriteUnraisable(b->task);
    }
    Py_XDECREF(outcome);
    PyErr_Clear();
}

/* What was running before LOOP's stack went on. Twice, where memory is short: a loop that seems to run keeps others from it */
static void
restore(PyObject *loop, PyObject *before, PyObject *task)
{
    for (int left = 2; left > 0 && an_set_running_loop(before) < 0; left--) {
        PyErr_WriteUnraisable(loop);
    }
    if (task != NULL && an_task_swap(before, task, NULL) < 0) {
        PyErr_WriteUnraisable(loop);
    }
}

static int
drain(an_thread *th, an_block *b, PyObject *self)
{
    PyObject *loop = Py_NewRef(b->loop), *before = an_running_loop(), *task = NULL, *made = Py_XNewRef(b->exc);
    Py_INCREF(b);
    an_run *run = before == NULL ? NULL : an_run_push(th, AN_RUN_DRAINING, NULL, NULL, self);
    int rc = run == NULL ? -1 : 0;
    if (rc == 0 && before != Py_None) {
        rc = an_task_swap(before, NULL, &task); /* since 3.14 a thread has one current task, whatever its loop */
    }
    (void)an_fiber_reap(); /* F8 */
    if (rc == 0 && b->state == AN_BLOCK_READY) {
        b->handed = 1;
        rc = an_set_running_loop(loop) < 0 ? -1 : an_hub_switch(th, self, b->fiber, b->carrier);
    }
    PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
    if (run != NULL) {
        PyObject *late = an_run_pop(th, run);
        if (late != NULL) {
            Py_XSETREF(exc, late);
        }
    }
    if (before != NULL) {
        restore(loop, before, task);
    }
    keep_quiet(b, made);
    Py_XDECREF(made);
    Py_XDECREF(task);
    Py_XDECREF(before);
    Py_DECREF(loop);
    if (b->state != AN_BLOCK_OVER && exc == NULL) {
        PyErr_SetString(PyExc_SystemError, "B1: a suspended run did not end");
        exc = PyErr_GetRaisedException();
    }
    Py_DECREF(b);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
        return -1;
    }
    return 0;
}

/* The newest run of TH, on REC unless that is NULL, that can be ended from here | NULL; *LEFT counts newer ones that cannot */
static an_block *
newest(an_thread *th, an_loop *rec, Py_ssize_t *left)
{
    an_block *b = th->last;
    *left = 0;
    while (b != NULL && ((rec != NULL && b->rec != rec) || !b->place.in_hub)) {
        *left += rec == NULL || b->rec == rec;
        b = b->prev;
    }
    return b;
}

/* End B, whose stack goes on at once. A run that is ready already ends with its own result. 0 | -1, with an exception or
 * without one */
static int
end_one(an_thread *th, an_block *b, PyObject *self, const char *message)
{
    if (b->state == AN_BLOCK_WAITING) {
        if (b->missed) {
            an_block_wake(b);
        }
        else {
            an_block_end(b, message);
        }
    }
    return b->state != AN_BLOCK_READY ? -1 : drain(th, b, self);
}

/* What has ended is not pending any more. */
static void
drop_over(an_thread *th)
{
    for (size_t i = th->pending.len; i > 0; i--) {
        PyObject *b = an_ring_pop(&th->pending);
        if (b != NULL && ((an_block *)b)->state == AN_BLOCK_READY && an_ring_push(&th->pending, b) < 0) {
            PyErr_WriteUnraisable(b);
        }
        Py_XDECREF(b);
    }
}

/* The stack of a foreign run_forever cannot be gone to from here. But where it sleeps in a run on REC, a guest that closes,
 * nothing else would wake it: it goes on with that error when a hub of the outer loop comes to it. */
static void
end_base(an_thread *th, an_loop *rec, const char *message)
{
    an_block *b = th->first;
    while (rec != NULL && th->run != NULL && b != NULL) {
        if (b->rec == rec && !b->place.in_hub && b->state == AN_BLOCK_WAITING && !b->missed) {
            an_block_end(b, message);
            b = th->first; /* that ran Python */
        }
        else {
            b = b->next;
        }
    }
}

Py_ssize_t
an_hub_end_suspended(an_thread *th, an_loop *rec, const char *message)
{
    Py_ssize_t left = 0;
    PyObject *self = an_fiber_current(), *first_exc = NULL;
    if (self == NULL) {
        return -1;
    }
    end_base(th, rec, message);
    an_block *b;
    while ((b = newest(th, rec, &left)) != NULL) { /* what was started last ends first */
        if (end_one(th, b, self, message) < 0) {
            PyObject *exc = PyErr_GetRaisedException();
            if (exc == NULL || first_exc != NULL) {
                Py_XDECREF(exc);
            }
            else {
                first_exc = exc;
            }
            if (b == th->last) {
                break; /* it cannot be moved: do not try for ever */
            }
        }
    }
    drop_over(th);
    an_hub_settle(th);
    if (th->run == NULL) {
        an_hub_dismiss(th);
    }
    Py_DECREF(self);
    if (first_exc != NULL) {
        PyErr_SetRaisedException(first_exc);
        return -1;
    }
    return left;
}

void
an_ending_of_thread(an_thread *th)
{
    if (th->n_blocks > 0 && th == an_thread_peek() && !Py_IsFinalizing() &&
        an_hub_end_suspended(th, NULL, "The thread ended before Future completed.") < 0) {
        PyErr_WriteUnraisable(NULL);
    }
    while (th->first != NULL) {
        an_block_unlink(th->first); /* its stack cannot go on: no wake-up may look for it */
    }
    while (th->run != NULL) {
        Py_XDECREF(an_run_pop(th, th->run));
    }
}
