#include "foreign_loop.h"
#include "batch.h"
#include "err.h"
#include "fiber.h"
#include "harmless.h"
#include "placing.h"
#include "runs.h"
#include "signals.h"

#include <stddef.h>
#include <structmember.h>

/* ---- the loop's own stack ------------------------------------------------------------ */

static an_run *
begin(an_thread *th, PyObject *loop, an_loop *rec)
{
    return an_run_push(th, AN_RUN_FOREIGN, loop, rec, NULL);
}

/* MAY SWITCH */
static void
end(an_thread *th, an_run *run)
{
    PyObject *late = an_run_pop(th, run);
    if (th->run == NULL) {
        an_hub_dismiss(th);
        an_signals_release(th);
    }
    if (late != NULL) {
        an_err_unraisable(late, NULL);
    }
}

/* Let the stacks that became ready go on. MAY SWITCH */
static int
wake_ready(an_thread *th, PyObject *self)
{
    int rc = 0;
    while (rc == 0) {
        (void)an_fiber_reap(); /* F8 */
        an_block *b = an_block_next(th);
        if (b == NULL) {
            break;
        }
        rc = an_hub_switch(th, self, b->fiber, b->carrier);
        Py_DECREF(b);
    }
    return rc;
}

/* ---- what the loop calls back ------------------------------------------------------------ */

static long long n_jobs = 0;

/* Do what the loop has called back for, and let the stacks go on that become ready by it: at once, or in a callback from its
 * queue (X7). 0 | -1+exc. MAY SWITCH */
static int
carry_out(an_thread *th, PyObject *self, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
          PyObject *context)
{
    int rc = 0;
    if (callback != NULL && Py_IS_TYPE(callback, (PyTypeObject *)an_st->type_batch)) {
        an_batch *b = (an_batch *)callback;
        while (rc == 0 && th->job.error == NULL && b->handles.len > 0) {
            th->job.batch = b;
            rc = an_placing_run(th, self);
        }
        th->job.batch = NULL;
    }
    else if (callback == NULL ||
             (AN_UNLIKELY(an_steps_open != NULL) && kwnames == NULL && an_steps_hold(callback, args, nargs, context))) {
        /* nothing */
    }
    else if (Py_IS_TYPE(callback, (PyTypeObject *)an_st->type_block)) {
        an_block_wake((an_block *)callback);
    }
    else {
        rc = an_job_put(th, callback, args, nargs, kwnames, context);
        if (rc == 0) {
            rc = an_placing_run(th, self);
        }
    }
    if (rc == 0 && (th->run == NULL || !th->run->amid)) {
        return wake_ready(th, self);
    }
    if (rc == 0 && AN_UNLIKELY(th->pending.len > 0)) {
        an_block_ask(th);
    }
    return rc;
}

/* The loop calls CALLBACK(ARGS), from its queue or AMID something else; NULL: there may be stacks that are ready. Its result,
 * None if it sleeps | NULL+exc. MAY SWITCH */
static PyObject *
deliver(an_thread *th, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *own_context,
        int amid)
{
    PyObject *self = an_fiber_current(), *context = Py_XNewRef(an_current_context());
    if (self == NULL) {
        Py_XDECREF(context);
        return NULL;
    }
    an_run *run = th->run;
    an_placing_note(run, AN_STACK_HERE());
    uintptr_t amid_before = run->amid;
    run->amid = amid ? AN_STACK_HERE() : 0;
    int entered = context != NULL && PyContext_Exit(context) == 0;
    if (context != NULL && !entered) {
        PyErr_Clear(); /* the thread's bottom context, current without having been entered */
    }
    struct an_job aside;
    an_job_set_aside(th, &aside);
    long long waited_for = th->job.number;
    PyObject *before = th->idle_base, *result_before = th->job.result;
    th->idle_base = Py_NewRef(self);
    PyObject *carrier = Py_XNewRef(th->fibers.carrier);
    an_fiber_take(&th->fibers, self);
    th->job.number = ++n_jobs;
    th->job.since = an_job_calls;
    th->job.result = NULL;
    int rc = carry_out(th, self, callback, args, nargs, kwnames, own_context != NULL ? own_context : context);
    PyObject *result = th->job.result;
    if (AN_LIKELY(th->run == run)) {
        run->amid = amid_before;
    }
    an_job_put_back(th, &aside);
    th->job.number = waited_for;
    th->job.result = result_before;
    Py_XSETREF(th->idle_base, before);
    an_fiber_take(&th->fibers, carrier);
    Py_XDECREF(carrier);
    Py_DECREF(self);

    PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
    if (exc == NULL) {
        exc = th->job.error;
        th->job.error = NULL;
    }
    if (entered && PyContext_Enter(context) < 0) {
        if (exc == NULL) {
            exc = PyErr_GetRaisedException();
        }
        PyErr_Clear();
    }
    Py_XDECREF(context);
    if (exc != NULL) {
        Py_XDECREF(result);
        PyErr_SetRaisedException(exc);
        return NULL;
    }
    return result == NULL ? Py_NewRef(Py_None) : result;
}

/* ---- wrapped callbacks ------------------------------------------------------------ */

typedef struct foreign_callback {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *callback;
    PyObject *context;                    /* in which it runs; NULL: that in which the loop calls back */
    const void *rec;                      /* of the loop that was given it with a context, else NULL. Compared only */
    int queued;                           /* it is called from the loop's queue, and soon */
    long long number;                     /* by the time when it was made */
    struct foreign_callback *prev, *next; /* X4 */
} foreign_callback;

static foreign_callback *first_callback = NULL, *last_callback = NULL;

#define FREE_MAX 64
static foreign_callback *free_callbacks[FREE_MAX];
static int n_free_callbacks = 0;

/* Called where no hub is needed, or none is to be had. */
static PyObject *
call_here(foreign_callback *c, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *context = Py_XNewRef(c->context), *callback = Py_NewRef(c->callback), *r = NULL;
    if (context == NULL || PyContext_Enter(context) == 0) {
        r = PyObject_Vectorcall(callback, args, nargsf, kwnames);
        PyObject *exc = PyErr_GetRaisedException();
        if (context != NULL && PyContext_Exit(context) < 0) {
            Py_CLEAR(r);
            if (exc != NULL) {
                PyErr_Clear();
            }
        }
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
    }
    Py_XDECREF(context);
    Py_DECREF(callback);
    return r;
}

/* The loop has set up what it sets up for a run: tell who wants to know. */
static void
tell_begun(an_run *run)
{
    PyObject *told = run->on_begin;
    run->on_begin = NULL;
    PyObject *r = PyObject_CallNoArgs(told);
    if (r == NULL) {
        PyErr_WriteUnraisable(told);
    }
    Py_XDECREF(r);
    Py_DECREF(told);
}

/* Where the loop's callbacks are to run. 1 on hubs; a run that is to pass is begun if the loop ran before its class was ours |
 * 0 here | -1+exc */
static int
enter(an_thread *th)
{
    an_run *run = th->run;
    if (th->place.in_hub) {
        return 0;
    }
    if (AN_UNLIKELY(run == NULL || run->kind != AN_RUN_FOREIGN)) {
        PyObject *loop = an_running_loop();
        an_loop *rec = loop == NULL || loop == Py_None ? NULL : an_loop_get(loop);
        run = rec == NULL || !rec->foreign ? NULL : begin(th, loop, rec);
        Py_XDECREF(loop);
        if (run == NULL) {
            if (rec != NULL && rec->foreign) {
                return -1;
            }
            PyErr_Clear();
            return 0;
        }
        run->passing = 1;
    }
    else if (AN_UNLIKELY(run->on_begin != NULL)) {
        tell_begun(run);
    }
    return 1;
}

/* MAY SWITCH */
static void
leave(an_thread *th)
{
    an_run *run = th->run;
    if (AN_UNLIKELY(run != NULL && run->kind == AN_RUN_FOREIGN && run->passing && run->rec->n_blocks == 0)) {
        PyObject *exc = PyErr_GetRaisedException();
        end(th, run);
        PyErr_SetRaisedException(exc);
    }
}

static PyObject *
callback_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    foreign_callback *c = (foreign_callback *)self;
    an_thread *th = an_thread_get();
    if (th == NULL) {
        return NULL;
    }
    an_job_calls++;
    Py_INCREF(self);
    int on_hub = enter(th);
    PyObject *r = NULL;
    if (on_hub > 0) {
        r = deliver(th, c->callback, args, PyVectorcall_NARGS(nargsf), kwnames, c->context, !c->queued);
        leave(th);
    }
    else if (on_hub == 0) {
        r = call_here(c, args, nargsf, kwnames);
    }
    Py_DECREF(self);
    return r;
}

/* Their handles, on this stack. 0 | -1+exc. MAY SWITCH */
static int
run_here(an_batch *b)
{
    int rc = 0;
    PyObject *handle;
    while (rc == 0 && (handle = an_ring_pop(&b->handles)) != NULL) {
        rc = an_handle_cancelled(handle);
        rc = rc == 0 ? an_handle_run(handle) : rc < 0 ? -1 : 0;
        PyObject *exc = PyErr_GetRaisedException();
        Py_DECREF(handle);
        PyErr_SetRaisedException(exc);
    }
    return rc;
}

/* Nothing is ready, and it has one callback, which cannot nest. */
static int
is_harmless(an_thread *th, an_batch *b)
{
    return b->handles.len == 1 && th->pending.len == 0 && an_steps_open == NULL && an_harmless(an_ring_at(&b->handles, 0));
}

static PyObject *
batch_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    an_batch *b = (an_batch *)self;
    an_thread *th = an_thread_get();
    PyObject *loop = th == NULL ? NULL : an_loop_of(b->rec);
    if (loop == NULL) {
        return th == NULL ? NULL : Py_NewRef(Py_None); /* it is gone */
    }
    an_job_calls++;
    Py_INCREF(self);
    an_batch_close(b);
    int on_hub = enter(th);
    PyObject *r = NULL;
    if (on_hub == 0 || (on_hub > 0 && is_harmless(th, b))) {
        r = run_here(b) < 0 ? NULL : Py_NewRef(Py_None);
    }
    else if (on_hub > 0) {
        r = deliver(th, self, NULL, 0, NULL, NULL, 0);
    }
    if (on_hub > 0) {
        leave(th);
    }
    if (AN_UNLIKELY(r == NULL)) {
        an_batch_put_back(b, loop);
    }
    Py_DECREF(loop);
    Py_DECREF(self);
    return r;
}

PyObject *
an_foreign_callback_new(PyObject *callback, PyObject *context, const void *rec, int queued)
{
    PyTypeObject *tp = (PyTypeObject *)an_st->type_foreign_callback;
    foreign_callback *c;
    if (n_free_callbacks > 0) {
        c = free_callbacks[--n_free_callbacks];
        PyObject_Init((PyObject *)c, tp);
    }
    else {
        c = PyObject_GC_New(foreign_callback, tp);
        if (c == NULL) {
            return NULL;
        }
        c->vectorcall = callback_call;
    }
    c->callback = Py_NewRef(callback);
    c->context = Py_XNewRef(context);
    c->rec = rec;
    c->queued = queued;
    c->number = ++an_job_calls;
    c->prev = last_callback;
    c->next = NULL;
    *(last_callback == NULL ? &first_callback : &last_callback->next) = c;
    last_callback = c;
    PyObject_GC_Track((PyObject *)c);
    return (PyObject *)c;
}

static int
callback_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((foreign_callback *)self)->callback);
    Py_VISIT(((foreign_callback *)self)->context);
    return 0;
}

static int
callback_clear(PyObject *self)
{
    Py_CLEAR(((foreign_callback *)self)->callback);
    Py_CLEAR(((foreign_callback *)self)->context);
    return 0;
}

static void
callback_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    foreign_callback *c = (foreign_callback *)self;
    PyObject_GC_UnTrack(self);
    *(c->prev == NULL ? &first_callback : &c->prev->next) = c->next;
    *(c->next == NULL ? &last_callback : &c->next->prev) = c->prev;
    (void)callback_clear(self);
    if (n_free_callbacks < FREE_MAX) {
        free_callbacks[n_free_callbacks++] = (foreign_callback *)self;
    }
    else {
        PyObject_GC_Del(self);
    }
    Py_DECREF(tp);
}

/* Loops and tools show a handle by its callback. */
static PyObject *
callback_repr(PyObject *self)
{
    return PyObject_Repr(((foreign_callback *)self)->callback);
}

static PyObject *
callback_getattro(PyObject *self, PyObject *name)
{
    PyObject *v = PyObject_GenericGetAttr(self, name);
    if (v == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        v = PyObject_GetAttr(((foreign_callback *)self)->callback, name);
    }
    return v;
}

static PyMemberDef callback_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(foreign_callback, vectorcall), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(foreign_callback, callback), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot callback_slots[] = {
    {Py_tp_dealloc, callback_dealloc},
    {Py_tp_traverse, callback_traverse},
    {Py_tp_clear, callback_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_repr, callback_repr},
    {Py_tp_getattro, callback_getattro},
    {Py_tp_members, callback_members},
    {Py_tp_doc, "A callback of a foreign event loop, run on a stack that can be suspended."},
    {0, NULL},
};

static PyType_Spec callback_spec = {
    .name = "aionest._core.ForeignCallback",
    .basicsize = sizeof(foreign_callback),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = callback_slots,
};

/* ---- Python ------------------------------------------------------------ */

PyObject *
an_py_foreign_callback(PyObject *module, PyObject *callback)
{
    return an_foreign_callback_new(callback, NULL, NULL, 0);
}

PyObject *
an_py_foreign_pending(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_get(loop);
    an_thread *th = rec == NULL ? NULL : an_thread_get();
    PyObject *all = th == NULL ? NULL : PyList_New(0);
    foreign_callback *c = (foreign_callback *)Py_XNewRef((PyObject *)first_callback);
    while (c != NULL) { /* held: a collection may free any of them */
        if (all != NULL && c->rec == rec && c->callback != NULL && c->context != NULL &&
            (!c->queued || c->number > th->job.since)) {
            PyObject *one = PyTuple_Pack(2, c->callback, c->context);
            if (one == NULL || PyList_Append(all, one) < 0) {
                Py_CLEAR(all);
            }
            Py_XDECREF(one);
        }
        Py_SETREF(c, (foreign_callback *)Py_XNewRef((PyObject *)c->next));
    }
    if (all != NULL && an_batch_pending(rec, th->job.since, all) < 0) {
        Py_CLEAR(all);
    }
    return all;
}

/* What the stack of the caller had entered is put aside while it is the loop's own. */
PyObject *
an_py_foreign_begin(PyObject *module, PyObject *args)
{
    PyObject *loop, *on_begin;
    if (!PyArg_ParseTuple(args, "OO:foreign_begin", &loop, &on_begin)) {
        return NULL;
    }
    an_loop *rec = an_loop_get(loop);
    an_thread *th = rec == NULL ? NULL : an_thread_get();
    if (th == NULL || begin(th, loop, rec) == NULL) {
        return NULL;
    }
    an_place *place = &th->place;
    PyObject *r = Py_BuildValue("iiiL", place->in_hub, place->in_base_iter, place->inplace_depth, an_job_calls);
    if (r == NULL) {
        end(th, th->run);
        return NULL;
    }
    *place = (an_place){0};
    th->run->on_begin = on_begin == Py_None ? NULL : Py_NewRef(on_begin);
    return r;
}

PyObject *
an_py_foreign_end(PyObject *module, PyObject *args)
{
    an_place place = {.slept = 1};
    long long calls;
    PyObject *loop;
    if (!PyArg_ParseTuple(args, "O(iiiL):foreign_end", &loop, &place.in_hub, &place.in_base_iter, &place.inplace_depth,
                          &calls)) {
        return NULL;
    }
    an_thread *th = an_thread_get();
    if (th == NULL) {
        return NULL;
    }
    an_run *run = th->run;
    while (run != NULL && !(run->kind == AN_RUN_FOREIGN && run->loop == loop)) {
        run = run->prev;
    }
    th->place = place;
    if (run != NULL) {
        end(th, run);
    }
    return PyLong_FromLongLong(an_job_calls - calls);
}

static void (*after_wake_elsewhere)(an_thread *th) = NULL;

/* A future called back on the loop's own stack, by itself. */
static void
after_wake(an_thread *th)
{
    if (th->run == NULL || th->run->kind != AN_RUN_FOREIGN) {
        after_wake_elsewhere(th);
    }
    else if (!th->place.in_hub) {
        PyObject *r = deliver(th, NULL, NULL, 0, NULL, NULL, 1);
        Py_XDECREF(r);
    }
}

int
an_foreign_loop_init(PyObject *module)
{
    after_wake_elsewhere = an_block_after_wake;
    an_block_after_wake = after_wake;
    an_batch_call = batch_call;
    an_st->type_foreign_callback = PyType_FromSpec(&callback_spec);
    return an_st->type_foreign_callback == NULL || an_harmless_init() < 0 ? -1 : an_batch_init();
}
