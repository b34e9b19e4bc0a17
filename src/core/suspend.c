#include "suspend.h"
#include "err.h"
#include "fiber.h"
#include "foreign.h"
#include "leave.h"
#include "poll.h"
#include "sched.h"
#include "stopping.h"

#define AN_INPLACE_RUNS 64

int
an_suspend_avoidable(an_thread *th, an_loop *rec)
{
    int on_carrier = an_fiber_is_current(th->fibers.carrier); /* first: greenlet may run Python there (F8) */
    return rec->todo <= 0 && !rec->debug && !rec->stopping && !rec->ending && rec->guest == NULL && rec->carried &&
           th->pending.len == 0 && th->idle_base == NULL && th->run->rec == rec && rec->inplace < AN_INPLACE_RUNS &&
           !(rec->overrides & AN_OVR_RUN_ONCE) && rec->own_ready == NULL &&
           on_carrier; /* no step may take a foreign stack for the loop's */
}

/* ---- collecting garbage, on CPython 3.10 ------------------------------------------------------------ */

/* CPython may be walking this stack's frames, and those beneath it, which are other stacks' and would go on meanwhile. */
static int
check_collecting(an_thread *th)
{
    if (AN_LIKELY(!th->place.collecting) || !AN_WALKS_FRAMES()) {
        return 0;
    }
    an_err("NestedRunError", "a finalizer that the garbage collector calls cannot nest on CPython 3.10 in debug mode");
    return -1;
}

#if !AN_PY311
static PyObject *
on_collect(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    an_thread *th = an_thread_peek();
    if (th != NULL && nargs > 0 && PyUnicode_Check(args[0])) {
        th->place.collecting = PyUnicode_CompareWithASCIIString(args[0], "start") == 0;
    }
    Py_RETURN_NONE;
}

static PyMethodDef on_collect_def = {"_on_collect", (PyCFunction)(void (*)(void))on_collect, METH_FASTCALL, NULL};
#endif

int
an_suspend_init(PyObject *module)
{
#if AN_PY311
    return 0;
#else
    PyObject *callbacks = an_import_attr("gc", "callbacks"), *f = PyCFunction_New(&on_collect_def, NULL);
    int rc = callbacks == NULL || f == NULL ? -1 : PyList_Append(callbacks, f);
    Py_XDECREF(callbacks);
    Py_XDECREF(f);
    return rc;
#endif
}

/* ---- asleep ------------------------------------------------------------ */

static int
listen(an_block *b)
{
    PyObject *r;
    if (b->future == NULL) {
        return an_sched_soon(b->rec, b->loop, (PyObject *)b, NULL, b->th->context);
    }
    PyObject *args[3] = {b->future, (PyObject *)b, b->th->context};
    int was = AN_COLLECTOR_OFF(); /* a future that is done meanwhile would not call what is added */
    r = PyObject_VectorcallMethod(an_st->s_add_done_callback, args, 2, an_st->kw_context);
    AN_COLLECTOR_BACK(was);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static int
guest_call(an_loop *rec, PyObject *name)
{
    PyObject *guest = Py_NewRef(rec->guest);
    PyObject *r = PyObject_CallMethodNoArgs(guest, name);
    Py_DECREF(guest);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* Before its poll, in Python code of the selector's own, this stack slept: for how long it may wait there is out of date. */
static void
wake_again(PyObject *loop)
{
    PyObject *exc = PyErr_GetRaisedException(), *r = PyObject_CallMethodNoArgs(loop, an_st->s__write_to_self);
    if (r == NULL) {
        PyErr_WriteUnraisable(loop);
    }
    Py_XDECREF(r);
    PyErr_SetRaisedException(exc);
}

/* Keep the first error. */
static void
keep_first(PyObject **first)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (exc != NULL && *first == NULL) {
        *first = exc;
    }
    else if (exc != NULL) {
        an_err_unraisable(exc, NULL);
    }
}

/* How far a stack has come on its way to sleep. */
typedef enum { AT_TASK, AT_LISTENING, AT_STRANDED, AT_CONTEXTS } progress;

/* The stack stays: take back what was done for B (or NULL), last things first. TASK is stolen. Keeps the current exception, or
 * the first that comes. MAY SWITCH */
static void
stay(an_thread *th, an_block *b, PyObject *loop, PyObject *task, progress at)
{
    PyObject *error = NULL;
    keep_first(&error);
    if (at >= AT_CONTEXTS) {
        an_signals_leave(b);
        if (an_contexts_enter(&b->contexts) < 0) {
            keep_first(&error);
        }
    }
    if (at >= AT_STRANDED && b->carrier != b->fiber) {
        an_foreign_return(&th->fibers, b->carrier, b->fiber);
        keep_first(&error);
    }
    if (at >= AT_LISTENING) {
        if (b->guest && b->rec->guest != NULL && guest_call(b->rec, an_st->s_resume) < 0) {
            keep_first(&error);
        }
        if (b->told) {
            an_task_wait_over(task, b->future);
            keep_first(&error);
        }
        if (b->step != NULL) {
            an_steps_leave(b->step, loop);
            b->step = NULL;
            keep_first(&error);
        }
        an_block_detach(b);
        b->state = AN_BLOCK_OVER;
        keep_first(&error);
    }
    if (task != NULL && an_task_swap(loop, task, NULL) < 0) {
        keep_first(&error);
    }
    Py_XDECREF(task);
    if (b != NULL) {
        b->th = NULL;
        Py_DECREF(b);
    }
    an_leave_undo(th);
    PyErr_SetRaisedException(error);
}

/* TASK waits for B's future, or, in the midst of a step, the step does. 0 | -1+exc */
static inline int
tell_task(an_block *b, PyObject *task)
{
    if (task != NULL && AN_UNLIKELY(!an_task_runs(task))) {
        return (b->step = an_steps_enter(task)) == NULL ? -1 : 0;
    }
    if (task != NULL && b->future != NULL) {
        if (an_task_wait_for(task, b->future) < 0) {
            return -1;
        }
        b->told = 1;
    }
    return 0;
}

/* All that can fail. new ref: the block of this stack, which may leave now | NULL+exc, and it stays. Runs Python */
static inline an_block *
prepare(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future, an_block_kind kind)
{
    PyObject *task = NULL;
    if (check_collecting(th) < 0 || an_leave_prepare(th, loop, rec) < 0) {
        return NULL;
    }
    if (an_task_swap(loop, NULL, &task) < 0) {
        an_leave_undo(th);
        return NULL;
    }
    progress at = AT_TASK;
    an_block *b = an_block_new(th, rec, loop, future, task, kind);
    if (b == NULL || (b->fiber = an_fiber_current()) == NULL || listen(b) < 0) {
        goto fail;
    }
    at = AT_LISTENING;
    an_anchor_set(&b->anchor);
    if (tell_task(b, task) < 0) {
        goto fail;
    }
    if (rec->guest != NULL) {
        if (guest_call(rec, an_st->s_suspend) < 0) {
            goto fail;
        }
        b->guest = 1;
    }
    b->carrier = Py_NewRef(th->fibers.carrier);
    if (AN_UNLIKELY(b->carrier != b->fiber) && an_foreign_strand(&th->fibers, b->carrier) < 0) {
        goto fail;
    }
    at = AT_STRANDED;
    if (an_contexts_leave(&b->contexts) < 0) {
        goto fail;
    }
    at = AT_CONTEXTS;
    an_signals_enter(b);
    if (AN_UNLIKELY(an_leave_commit(th, rec) < 0)) {
        goto fail;
    }
    Py_XDECREF(task); /* the block has its own reference */
    return b;
fail:
    stay(th, b, loop, task, at);
    return NULL;
}

/* B's loop goes on with this stack: its pump is told, and a poll that was on its way to sleep is not to. */
static inline void
resume_loop(an_thread *th, an_block *b, PyObject **error)
{
    int rc = 0;
    if (AN_UNLIKELY(b->rec->guest != NULL)) {
        if (!b->guest) {
            th->place.as_guest = 1; /* H4 */
        }
        rc = guest_call(b->rec, an_st->s_resume);
    }
    else if (AN_UNLIKELY(b->guest)) {
        rc = an_set_running_loop(b->loop); /* it has ended meanwhile, and is what runs here all the same: left as ever */
    }
    if (AN_UNLIKELY(rc < 0)) {
        keep_first(error);
    }
    if (AN_UNLIKELY(b->rec->selecting > 0)) {
        wake_again(b->loop);
    }
}

/* The task that sleeps in B is the current one again, and waits for nothing. */
static inline void
resume_task(an_block *b, PyObject **error)
{
    if (an_task_swap(b->loop, b->task, NULL) < 0) {
        keep_first(error);
    }
    if (b->told) {
        an_task_wait_over(b->task, b->future);
    }
    if (AN_UNLIKELY(b->step != NULL)) {
        an_steps_leave(b->step, b->loop);
        b->step = NULL;
    }
}

/* The stack goes on. LEFT is what leaving has returned. B is stolen. 0 | -1+exc, *INTERRUPTS as below. MAY SWITCH */
static inline int
come_back(an_thread *th, an_block *b, int left, int *interrupts)
{
    PyObject *error = NULL;
    if (AN_UNLIKELY(left < 0)) {
        keep_first(&error);
        if (b->state == AN_BLOCK_WAITING) {
            an_block_detach(b);
        }
    }
    else if (AN_UNLIKELY(b->state == AN_BLOCK_WAITING && !b->early)) {
        /* in the midst of a switch to the base, whose turn it is */
        an_err("NestedRunError", "%s", an_stopping_message);
        keep_first(&error);
        an_block_detach(b);
    }
    if (AN_UNLIKELY(b->carrier != b->fiber)) {
        an_foreign_wakes(&th->fibers);
    }
    an_block_unlink(b);
    if (AN_UNLIKELY(b->carrier != b->fiber)) {
        an_foreign_return(&th->fibers, b->carrier, b->fiber);
    }
    an_link *link = an_fiber_link(b->carrier);
    if (AN_UNLIKELY(link != NULL && link->to == NULL)) {
        an_link_set(link, an_block_beneath(th)); /* the run that it began in is over */
    }
    an_signals_leave(b);
    if (AN_UNLIKELY(an_contexts_enter(&b->contexts) < 0)) {
        keep_first(&error);
    }
    resume_loop(th, b, &error);
    if (b->task != NULL) {
        resume_task(b, &error);
    }
    an_hub_settle(th);
    if (interrupts != NULL) {
        *interrupts = b->interrupts;
    }
    if (error == NULL && b->exc != NULL) {
        error = b->exc;
        b->exc = NULL;
    }
    if (error == NULL && b->task != NULL && an_task_honour_cancel(b->task) < 0) {
        keep_first(&error);
    }
    Py_DECREF(b); /* may run Python: the last thing but one */
    if (error == NULL) {
        return 0;
    }
    PyErr_SetRaisedException(error);
    return -1;
}

int
an_suspend(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future, an_block_kind kind, int *interrupts)
{
    an_block *b = prepare(th, rec, loop, future, kind);
    if (b == NULL) {
        return -1;
    }
    long long t0 = rec->debug ? (long long)(an_loop_now() * 1e9) : 0;
    int left = 0;
    an_block_set_anchor(b);
    b->place = th->place;
    b->place.slept = 1;
    an_block_link(b);
    if (AN_UNLIKELY(b->carrier != b->fiber)) {
        an_foreign_sleeps(&th->fibers);
    }
    if (AN_LIKELY(!b->early)) {
        left = an_leave(th, b);
    }
    /* back: only th (this thread's own) and b are known to be alive */
    if (AN_UNLIKELY(t0 != 0)) {
        th->slept_ns += (long long)(an_loop_now() * 1e9) - t0;
    }
    return come_back(th, b, left, interrupts);
}
