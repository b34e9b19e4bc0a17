#include "foreign_loop.h"
#include "err.h"
#include "fiber.h"
#include "runs.h"
#include "sched.h"
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
    an_block *b;
    while (rc == 0 && (b = an_block_next(th)) != NULL) {
        b->handed = 1;
        rc = an_hub_switch(th, self, b->fiber, b->carrier);
        Py_DECREF(b);
    }
    return rc;
}

/* Have a hub take the job. Before a new one does, a finalizer or a signal's handler may nest in its first frames, or raise:
 * then the next one. MAY SWITCH */
static int
run_on_hub(an_thread *th, PyObject *self)
{
    int rc = 0;
    while (rc == 0 && th->job.callback != NULL) { /* not taken, if a tracer of the switch nested: that hub sleeps */
        PyObject *hub = an_ring_pop_back(&th->idle);
        if (hub == NULL) {
            hub = an_fiber_new(&th->fibers, an_st->hub_start, self, self);
        }
        rc = hub == NULL ? -1 : an_hub_switch(th, self, hub, NULL);
        Py_XDECREF(hub);
    }
    an_job_drop(th);
    return rc;
}

static long long n_jobs = 0, n_calls = 0; /* n_calls: of wrappers, and wrappers made: whether an iteration did anything */

/* Do what the loop has called back for, and let the stacks go on that become ready by it. 0 | -1+exc. MAY SWITCH */
static int
carry_out(an_thread *th, PyObject *self, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
          PyObject *context)
{
    int rc = 0;
    if (callback == NULL ||
        (AN_UNLIKELY(an_steps_open != NULL) && kwnames == NULL && an_steps_hold(callback, args, nargs, context))) {
        /* nothing */
    }
    else if (Py_IS_TYPE(callback, (PyTypeObject *)an_st->type_block)) {
        an_block_wake((an_block *)callback);
    }
    else {
        rc = an_job_put(th, callback, args, nargs, kwnames, context);
        if (rc == 0) {
            rc = run_on_hub(th, self);
        }
    }
    return rc == 0 ? wake_ready(th, self) : rc;
}

/* The loop calls CALLBACK(ARGS); NULL: there may be stacks that are ready. Its result, None if it sleeps | NULL+exc.
 * MAY SWITCH */
static PyObject *
deliver(an_thread *th, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *own_context)
{
    PyObject *self = an_fiber_current(), *context = Py_XNewRef(an_current_context());
    if (self == NULL) {
        Py_XDECREF(context);
        return NULL;
    }
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
    th->job.since = n_calls;
    th->job.result = NULL;
    int rc = carry_out(th, self, callback, args, nargs, kwnames, own_context != NULL ? own_context : context);
    PyObject *result = th->job.result;
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
    PyObject *context; /* in which it runs; NULL: that in which the loop calls back */
    const void *rec;   /* of the loop that was given it with a context, else NULL. Compared only */
    int timer;
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

static PyObject *
callback_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    foreign_callback *c = (foreign_callback *)self;
    an_thread *th = an_thread_get();
    if (th == NULL) {
        return NULL;
    }
    n_calls++;
    if (th->place.in_hub) {
        return call_here(c, args, nargsf, kwnames);
    }
    an_run *run = th->run, *own = NULL;
    if (AN_UNLIKELY(run == NULL || run->kind != AN_RUN_FOREIGN)) {
        /* the loop ran before its class was ours */
        PyObject *loop = an_running_loop();
        an_loop *rec = loop == NULL || loop == Py_None ? NULL : an_loop_get(loop);
        if (rec == NULL || !rec->foreign) {
            Py_XDECREF(loop);
            PyErr_Clear();
            return call_here(c, args, nargsf, kwnames);
        }
        own = begin(th, loop, rec);
        Py_DECREF(loop);
        if (own == NULL) {
            return NULL;
        }
        own->passing = 1;
    }
    Py_INCREF(self);
    if (AN_UNLIKELY(run != NULL && run->on_begin != NULL)) {
        tell_begun(run);
    }
    PyObject *r = deliver(th, c->callback, args, PyVectorcall_NARGS(nargsf), kwnames, c->context);
    Py_DECREF(self);
    run = th->run;
    if (AN_UNLIKELY(run != NULL && run->kind == AN_RUN_FOREIGN && run->passing && run->rec->n_blocks == 0)) {
        PyObject *exc = PyErr_GetRaisedException();
        end(th, run);
        PyErr_SetRaisedException(exc);
    }
    return r;
}

static PyObject *
callback_new(PyObject *callback, PyObject *context, const void *rec, int timer)
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
    c->timer = timer;
    c->number = ++n_calls;
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

/* ---- methods that take a callback ------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *stock;   /* called with the loop first */
    Py_ssize_t index;  /* the callback's place among the arguments, the loop's is 0 */
    int takes_context; /* it has a parameter named so */
} foreign_method;

/* Coroutines and their functions are refused by the loop itself: it has to see them. */
static int
is_to_be_wrapped(PyObject *callback)
{
    if (!PyCallable_Check(callback) || Py_IS_TYPE(callback, (PyTypeObject *)an_st->type_foreign_callback)) {
        return 0;
    }
    PyObject *f = PyMethod_Check(callback) ? PyMethod_GET_FUNCTION(callback) : callback;
    return !PyFunction_Check(f) || !(((PyCodeObject *)PyFunction_GET_CODE(f))->co_flags & CO_COROUTINE);
}

/* Where a keyword is among the arguments of a vectorcall | -1 */
static Py_ssize_t
find_keyword(PyObject *kwnames, Py_ssize_t nargs, const char *name)
{
    Py_ssize_t n = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), name) == 0) {
            return nargs + i;
        }
    }
    return -1;
}

/* KWNAMES and context. new ref | NULL+exc */
static PyObject *
with_context(PyObject *kwnames)
{
    if (kwnames == NULL || PyTuple_GET_SIZE(kwnames) == 0) {
        return Py_NewRef(an_st->kw_context);
    }
    Py_ssize_t n = PyTuple_GET_SIZE(kwnames);
    PyObject *all = PyTuple_New(n + 1);
    for (Py_ssize_t i = 0; all != NULL && i < n; i++) {
        PyTuple_SET_ITEM(all, i, Py_NewRef(PyTuple_GET_ITEM(kwnames, i)));
    }
    if (all != NULL) {
        PyTuple_SET_ITEM(all, n, Py_NewRef(an_st->s_context));
    }
    return all;
}

/* The empty context in which the loop calls wrappers. It is not entered while their callbacks run, so it never is twice: a
 * callback's own stays entered while its stack sleeps below somebody's greenlet. new ref | NULL+exc */
static PyObject *
calling_context(an_loop *rec)
{
    if (rec->context == NULL) {
        PyObject *context = PyContext_New();
        if (context == NULL) {
            return NULL;
        }
        Py_XSETREF(rec->context, context);
    }
    return Py_NewRef(rec->context);
}

/* Call the stock method with the callback at AT wrapped. ALL has room for one more. */
static PyObject *
call_wrapped(foreign_method *m, PyObject **all, Py_ssize_t n, PyObject *kwnames, Py_ssize_t at)
{
    PyObject *context = NULL, *calling = NULL, *names = Py_XNewRef(kwnames), *callback = NULL, *r = NULL;
    an_loop *rec = NULL;
    if (m->takes_context) {
        Py_ssize_t where = find_keyword(kwnames, n, "context");
        PyObject *given = where < 0 ? Py_None : all[where];
        context = given == Py_None ? PyContext_CopyCurrent() : Py_NewRef(given);
        if (context == NULL || (rec = an_loop_get(all[0])) == NULL || (calling = calling_context(rec)) == NULL) {
            goto done;
        }
        if (!PyContext_CheckExact(context)) { /* the loop itself shall refuse it */
            r = PyObject_Vectorcall(m->stock, all, (size_t)n, kwnames);
            goto done;
        }
        if (where < 0) {
            where = n + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
            Py_XSETREF(names, with_context(kwnames));
            if (names == NULL) {
                goto done;
            }
        }
        all[where] = calling;
    }
    if ((callback = callback_new(all[at], context, rec, m->index > 1)) != NULL) {
        all[at] = callback;
        r = PyObject_Vectorcall(m->stock, all, (size_t)n, names);
    }
done:
    Py_XDECREF(context);
    Py_XDECREF(calling);
    Py_XDECREF(names);
    Py_XDECREF(callback);
    return r;
}

static PyObject *
method_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    foreign_method *m = (foreign_method *)self;
    Py_ssize_t n = PyVectorcall_NARGS(nargsf), kw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    Py_ssize_t at = n > m->index ? m->index : find_keyword(kwnames, n, "callback");
    if (at < 0 || n < 1 || !is_to_be_wrapped(args[at])) {
        return PyObject_Vectorcall(m->stock, args, (size_t)n, kwnames);
    }
    PyObject *small[8], **all = n + kw < 8 ? small : PyMem_New(PyObject *, (size_t)(n + kw + 1));
    if (all == NULL) {
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < n + kw; i++) {
        all[i] = args[i];
    }
    PyObject *r = call_wrapped(m, all, n, kwnames, at);
    if (all != small) {
        PyMem_Free(all);
    }
    if (AN_UNLIKELY(r == NULL)) {
        an_sched_not_queued(args[at]);
    }
    return r;
}

static int
method_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((foreign_method *)self)->stock);
    return 0;
}

static int
method_clear(PyObject *self)
{
    Py_CLEAR(((foreign_method *)self)->stock);
    return 0;
}

static void
method_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)method_clear(self);
    tp->tp_free(self);
    Py_DECREF(tp);
}

static PyObject *
method_bind(PyObject *self, PyObject *loop, PyObject *type)
{
    return loop == NULL || loop == Py_None ? Py_NewRef(self) : PyMethod_New(self, loop);
}

static PyObject *
method_getattro(PyObject *self, PyObject *name)
{
    PyObject *v = PyObject_GenericGetAttr(self, name);
    if (v == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        v = PyObject_GetAttr(((foreign_method *)self)->stock, name);
    }
    return v;
}

static PyMemberDef method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(foreign_method, vectorcall), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(foreign_method, stock), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_dealloc, method_dealloc}, {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},     {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, method_bind},  {Py_tp_getattro, method_getattro},
    {Py_tp_members, method_members}, {0, NULL},
};

static PyType_Spec method_spec = {
    .name = "aionest._core.ForeignMethod",
    .basicsize = sizeof(foreign_method),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = method_slots,
};

/* ---- Python ------------------------------------------------------------ */

PyObject *
an_py_foreign_method(PyObject *module, PyObject *args)
{
    PyObject *stock;
    Py_ssize_t index;
    int takes_context;
    if (!PyArg_ParseTuple(args, "Onp:foreign_method", &stock, &index, &takes_context)) {
        return NULL;
    }
    PyTypeObject *tp = (PyTypeObject *)an_st->type_foreign_method;
    foreign_method *m = (foreign_method *)tp->tp_alloc(tp, 0);
    if (m != NULL) {
        m->vectorcall = method_call;
        m->stock = Py_NewRef(stock);
        m->index = index;
        m->takes_context = takes_context;
    }
    return (PyObject *)m;
}

PyObject *
an_py_foreign_callback(PyObject *module, PyObject *callback)
{
    return callback_new(callback, NULL, NULL, 0);
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
            (c->timer || c->number > th->job.since)) {
            PyObject *one = PyTuple_Pack(2, c->callback, c->context);
            if (one == NULL || PyList_Append(all, one) < 0) {
                Py_CLEAR(all);
            }
            Py_XDECREF(one);
        }
        Py_SETREF(c, (foreign_callback *)Py_XNewRef((PyObject *)c->next));
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
    PyObject *r = Py_BuildValue("iiiL", place->in_hub, place->in_base_iter, place->inplace_depth, n_calls);
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
    return PyLong_FromLongLong(n_calls - calls);
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
        PyObject *r = deliver(th, NULL, NULL, 0, NULL, NULL);
        Py_XDECREF(r);
    }
}

int
an_foreign_loop_init(PyObject *module)
{
    after_wake_elsewhere = an_block_after_wake;
    an_block_after_wake = after_wake;
    an_st->type_foreign_callback = PyType_FromSpec(&callback_spec);
    an_st->type_foreign_method = an_st->type_foreign_callback == NULL ? NULL : PyType_FromSpec(&method_spec);
    return an_st->type_foreign_method == NULL ? -1 : 0;
}
