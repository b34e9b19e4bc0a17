/* task.h - current task, running loop and entered contexts of this thread, per Python version.   Level 2: layout, err.
 *
 * Thread   the one that runs the loop, with the GIL. Functions here call into _asyncio and contextvars; they run no user
 *          code but finalizers and context watchers, and never switch.
 */
#ifndef AN_TASK_H
#define AN_TASK_H

#include "state.h"

/* The running loop of this thread: new ref, Py_None when there is none | NULL+exc */
PyObject *an_running_loop(void);
int an_set_running_loop(PyObject *loop);

/* Make TASK (NULL: none) the current task of LOOP; *OLD gets the one before (new ref or NULL). 0 | -1+exc */
int an_task_swap(PyObject *loop, PyObject *task, PyObject **old);

/* Is it TASK's coroutine that runs? Not while its step begins or ends around that, where a finalizer or a loop's own
 * call_soon() may nest: what waits there is not the task. That is about to run, or waits for what it has yielded, and a
 * cancellation is for that. Runs Python. Keeps the current exception. */
int an_task_runs(PyObject *task);
/* Tell TASK, whose coroutine runs, that it waits for FUTURE, as its own step does after a yield: a cancellation that is due
 * already goes to FUTURE at once, but not amid a finalizer. 0 | -1+exc, and it waits for nothing; runs Python */
int an_task_wait_for(PyObject *task, PyObject *future);
/* The wait is over. Keeps the current exception. */
void an_task_wait_over(PyObject *task, PyObject *future);

/* Is it a finalizer amid TASK's coroutine (NULL: any) that FRAME (NULL: the caller's) belongs to? A cancellation that is due
 * is not for that: it waits for the task's next await. Runs Python. Keeps the current exception. */
int an_task_amid_finalizer(PyObject *task, PyObject *frame);
/* If TASK, whose coroutine runs, must be cancelled: clear that and raise CancelledError. 0 not due | -1+exc */
int an_task_honour_cancel(PyObject *task);
/* TASK has waited, maybe amid a finalizer, and goes on. What cancelled it there and has taken that back since, as
 * asyncio.timeout() does, shall not reach its next await, either: Task.uncancel() sees to that since 3.13. Keeps the current
 * exception. Runs Python */
void an_task_forget_taken_back(PyObject *task);

/* contextvars.copy_context(), where no finalizer that sets a variable comes between what it reads and the copy.
 * new ref | NULL+exc */
PyObject *an_copy_context(void);

/* The contexts that the current stack has entered, innermost first. */
typedef struct {
    PyObject *inline_items[2]; /* strong */
    PyObject **items;          /* inline_items, or allocated */
    int n, cap;
} an_contexts;

/* Leave all of them. 0 | -1+exc with those left so far entered again */
int an_contexts_leave(an_contexts *c);
/* Enter them again, outermost first, and release. 0 | -1+exc (some context is entered elsewhere) */
int an_contexts_enter(an_contexts *c);

#endif
