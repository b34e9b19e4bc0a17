#include "block.h"
#include "err.h"
#include "fiber.h"
#include "sched.h"

#include <stddef.h>
#include <structmember.h>

void (*an_block_after_wake)(an_thread *th) = NULL;

static int
block_traverse(PyObject *self, visitproc visit, void *arg)
{
    an_block *b = (an_block *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(b->fiber);
    Py_VISIT(b->carrier);
    Py_VISIT(b->loop);
    Py_VISIT(b->rec);
    Py_VISIT(b->future);
    Py_VISIT(b->task);
    Py_VISIT(b->exc);
    Py_VISIT(b->anchor.frame);
    return 0;
}

static int
block_clear(PyObject *self)
{
    an_block *b = (an_block *)self;
    Py_CLEAR(b->fiber);
    Py_CLEAR(b->carrier);
    Py_CLEAR(b->loop);
    Py_CLEAR(b->rec);
    Py_CLEAR(b->future);
    Py_CLEAR(b->task);
    Py_CLEAR(b->exc);
    an_anchor_drop(&b->anchor, NULL);
    if (b->step != NULL) { /* its stack was cut off: so is what was held for it */
        an_step *step = b->step;
        b->step = NULL;
        an_steps_leave(step, NULL);
    }
    while (b->contexts.n > 0) {
        Py_DECREF(b->contexts.items[--b->contexts.n]);
    }
    return 0;
}

static void
block_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)block_clear(self);
    an_st->n_blocks--;
    tp->tp_free(self);
    Py_DECREF(tp);
}

/* The future is done, and its loop has no memory for the callback: the stack must not sleep for ever. */
static void
not_queued(PyObject *callback)
{
    if (!Py_IS_TYPE(callback, (PyTypeObject *)an_st->type_block)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    an_block_wake((an_block *)callback);
    PyErr_SetRaisedException(exc);
}

static PyObject *
block_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    an_block *b = (an_block *)self;
    an_thread *th = b->state == AN_BLOCK_WAITING ? b->th : NULL;
    an_block_wake(b);
    if (th != NULL && th == an_thread_peek() && an_block_after_wake != NULL) {
        an_block_after_wake(th);
        if (PyErr_Occurred()) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

an_block *
an_block_new(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future, PyObject *task, an_block_kind kind)
{
    PyTypeObject *tp = (PyTypeObject *)an_st->type_block;
    an_block *b = (an_block *)tp->tp_alloc(tp, 0);
    if (b == NULL) {
        return NULL;
    }
    an_st->n_blocks++;
    b->vectorcall = block_call;
    b->th = th;
    b->kind = kind;
    b->number = th->seq++;
    b->rec = (an_loop *)Py_NewRef((PyObject *)rec);
    b->loop = Py_NewRef(loop);
    b->future = Py_XNewRef(future);
    b->task = Py_XNewRef(task);
    return b;
}

void
an_block_link(an_block *b)
{
    an_thread *th = b->th;
    b->state = AN_BLOCK_WAITING;
    b->prev = th->last;
    b->next = NULL;
    if (th->last != NULL) {
        th->last->next = b;
    }
    else {
        th->first = b;
    }
    th->last = b;
    th->n_blocks++;
    th->moved = 1;
    b->rec->n_blocks++;
    an_st->n_suspended++;
    Py_INCREF(b); /* the list's */
}

void
an_block_unlink(an_block *b)
{
    an_thread *th = b->th;
    b->state = AN_BLOCK_OVER;
    if (th == NULL) {
        return; /* its thread's end did it */
    }
    b->th = NULL;
    th->moved = 1;
    for (an_run *run = th->run; run != NULL; run = run->prev) {
        if (run->ground == &b->anchor) {
            run->ground = NULL;
        }
    }
    an_link *link = an_fiber_link(b->carrier);
    an_anchor_drop(&b->anchor, link == NULL ? NULL : link->to);
    if (b->prev != NULL) {
        b->prev->next = b->next;
    }
    else {
        th->first = b->next;
    }
    if (b->next != NULL) {
        b->next->prev = b->prev;
    }
    else {
        th->last = b->prev;
    }
    b->prev = b->next = NULL;
    th->n_blocks--;
    b->rec->n_blocks--;
    Py_DECREF(b);
}

/* Another thread's hub may sleep: let its loop look. */
static void
nudge(an_thread *th, an_block *b)
{
    if (th == an_thread_peek() || th->run == NULL || th->run->loop == NULL) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException(), *r;
    if (th->run->kind == AN_RUN_FOREIGN) {
        r = PyObject_CallMethodOneArg(th->run->loop, an_st->s_call_soon_threadsafe, (PyObject *)b);
    }
    else {
        r = PyObject_CallMethodNoArgs(th->run->loop, an_st->s__write_to_self);
    }
    if (r == NULL) {
        PyErr_WriteUnraisable(th->run->loop);
    }
    Py_XDECREF(r);
    PyErr_SetRaisedException(exc);
}

/* 1 if a run of TH is REC's */
static int
carries(an_thread *th, an_loop *rec)
{
    for (an_run *run = th->run; run != NULL; run = run->prev) {
        if (run->rec == rec) {
            return 1;
        }
    }
    return 0;
}

void
an_block_wake(an_block *b)
{
    if (b->state == AN_BLOCK_NEW) {
        b->early = 1;
    }
    if (b->state != AN_BLOCK_WAITING || b->th == NULL) {
        return;
    }
    if (AN_UNLIKELY(b->th != an_thread_peek()) && !carries(b->th, b->rec)) {
        b->missed = 1;
        return;
    }
    b->state = AN_BLOCK_READY;
    if (an_ring_push(&b->th->pending, (PyObject *)b) < 0) {
        /* nothing can be queued: stay WAITING, so that the end of the loop finds it */
        b->state = AN_BLOCK_WAITING;
        PyErr_WriteUnraisable((PyObject *)b);
        return;
    }
    nudge(b->th, b);
}

void
an_block_wake_missed(an_thread *th, an_loop *rec)
{
    for (an_block *b = th->first; b != NULL; b = b->next) {
        if (b->missed && b->rec == rec) {
            an_block_wake(b);
        }
    }
}

void
an_block_wake_waiters(an_thread *th, PyObject *future)
{
    for (an_block *b = th->first; b != NULL; b = b->next) {
        if (b->future == future) {
            an_block_wake(b);
        }
    }
}

/* The loop in whose run it goes on: its own, or the one that that is a guest of. borrowed */
static an_loop *
carrying(an_block *b)
{
    an_loop *rec = b->rec;
    while (rec->outer != NULL) {
        rec = rec->outer;
    }
    return rec;
}

/* B4 */
static int
is_turn_of(an_run *run, an_block *b)
{
    an_loop *rec = carrying(b);
    return run == NULL || run->rec == rec || (run->kind != AN_RUN_FOREIGN && !rec->foreign);
}

/* and X7 */
static int
may_go_on(an_run *run, an_block *b)
{
    return (run == NULL || !run->amid) && is_turn_of(run, b);
}

an_block *
an_block_next(an_thread *th)
{
    size_t i = 0;
    while (i < th->pending.len) {
        an_block *b = (an_block *)an_ring_at(&th->pending, i);
        if (AN_UNLIKELY(b->state != AN_BLOCK_READY)) {
            (void)an_ring_take(&th->pending, i);
            Py_DECREF(b);
            i = 0;
        }
        else if (AN_LIKELY(may_go_on(th->run, b))) {
            (void)an_ring_take(&th->pending, i);
            b->handed = 1;
            return b;
        }
        else {
            i++;
        }
    }
    return NULL;
}

int
an_block_is_pending(an_thread *th)
{
    for (size_t i = 0; i < th->pending.len; i++) {
        an_block *b = (an_block *)an_ring_at(&th->pending, i);
        if (b->state == AN_BLOCK_READY && is_turn_of(th->run, b)) {
            return 1;
        }
    }
    return 0;
}

/* Have the loop that carries B's wake it by a callback. 1 it will | 0 it cannot */
static int
ask_its_loop(an_block *b)
{
    PyObject *loop = an_loop_of(carrying(b));
    PyObject *r = loop == NULL ? NULL : PyObject_CallMethodOneArg(loop, an_st->s_call_soon_threadsafe, (PyObject *)b);
    if (r == NULL && loop != NULL) {
        PyErr_WriteUnraisable(loop);
    }
    Py_XDECREF(r);
    Py_XDECREF(loop);
    return r != NULL;
}

void
an_block_ask(an_thread *th)
{
    for (size_t i = 0; i < th->pending.len; i++) {
        an_block *b = (an_block *)an_ring_at(&th->pending, i);
        if (b->state == AN_BLOCK_READY && is_turn_of(th->run, b)) {
            Py_INCREF(b);
            (void)ask_its_loop(b);
            Py_DECREF(b);
            return;
        }
    }
}

static void
interrupt(an_block *b, PyObject *exc, int at_once)
{
    if (b->state != AN_BLOCK_WAITING) {
        Py_DECREF(exc);
        return;
    }
    Py_INCREF(b);
    PyObject *saved = PyErr_GetRaisedException();
    if (b->exc == NULL) {
        b->exc = exc;
    }
    else {
        Py_DECREF(exc);
    }
    an_run *run = b->th == NULL ? NULL : b->th->run;
    /* another loop runs now; and a foreign one comes to it by a callback only */
    int elsewhere = run != NULL && run->kind != AN_RUN_DRAINING && (carrying(b)->foreign || !may_go_on(run, b));
    if (at_once || !elsewhere || !ask_its_loop(b)) {
        an_block_wake(b);
    }
    an_block_detach(b);
    PyErr_SetRaisedException(saved);
    Py_DECREF(b);
}

void
an_block_interrupt(an_block *b, PyObject *exc)
{
    interrupt(b, exc, 0);
}

void
an_block_end(an_block *b, const char *message)
{
    an_err("NestedRunError", "%s", message);
    interrupt(b, PyErr_GetRaisedException(), 1);
}

void
an_block_detach(an_block *b)
{
    if (b->future == NULL) {
        return;
    }
    int was = AN_COLLECTOR_OFF(); /* a future that is done meanwhile has no list any more */
    PyObject *r = PyObject_CallMethodOneArg(b->future, an_st->s_remove_done_callback, (PyObject *)b);
    AN_COLLECTOR_BACK(was);
    if (r == NULL) {
        PyErr_WriteUnraisable(b->future);
    }
    Py_XDECREF(r);
}

void
an_block_set_anchor(an_block *b)
{
    an_thread *th = b->th;
    an_run *run = th->run;
    an_link *link = an_fiber_link(b->carrier);
    b->anchor.awaited = b->future;
    if (link == NULL) {
        if (run != NULL && run->ground == NULL && !th->place.in_hub) {
            run->ground = &b->anchor;
        }
    }
    else if (link->to != NULL && link->to->awaited != b->task) {
        an_link_set(link, run == NULL ? NULL : run->ground);
    }
}

an_anchor *
an_block_beneath(an_thread *th)
{
    an_run *run = th->run;
    if (th->last != NULL && (run == NULL || th->last->number >= run->first_block)) {
        return &th->last->anchor;
    }
    return run == NULL ? NULL : &run->anchor;
}

an_block *
an_block_newest(an_thread *th, an_loop *rec)
{
    for (an_block *b = th->last; b != NULL; b = b->prev) {
        if (b->state == AN_BLOCK_WAITING && (rec == NULL || b->rec == rec)) {
            return b;
        }
    }
    return NULL;
}

an_block *
an_block_of_base(an_thread *th)
{
    for (an_block *b = th->last; b != NULL; b = b->prev) {
        if (!b->place.in_hub && b->state == AN_BLOCK_WAITING) {
            return b;
        }
    }
    return NULL;
}

static PyMemberDef block_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(an_block, vectorcall), READONLY, NULL},
    /* for reports of programs that hang */
    {"future", T_OBJECT, offsetof(an_block, future), READONLY, NULL},
    {"task", T_OBJECT, offsetof(an_block, task), READONLY, NULL},
    {"loop", T_OBJECT, offsetof(an_block, loop), READONLY, NULL},
    {"fiber", T_OBJECT, offsetof(an_block, fiber), READONLY, NULL},
    {"carrier", T_OBJECT, offsetof(an_block, carrier), READONLY, NULL},
    {"state", T_INT, offsetof(an_block, state), READONLY, "AN_BLOCK_NEW and so on"},
    {"told", T_INT, offsetof(an_block, told), READONLY, NULL},
    {"early", T_INT, offsetof(an_block, early), READONLY, NULL},
    {"handed", T_INT, offsetof(an_block, handed), READONLY, NULL},
    {"missed", T_INT, offsetof(an_block, missed), READONLY, NULL},
    {"number", T_LONGLONG, offsetof(an_block, number), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot block_slots[] = {
    {Py_tp_dealloc, block_dealloc},
    {Py_tp_traverse, block_traverse},
    {Py_tp_clear, block_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, block_members},
    {Py_tp_doc, "Done callback that lets a suspended run go on."},
    {0, NULL},
};

static PyType_Spec block_spec = {
    .name = "aionest._core.SuspendedRun",
    .basicsize = sizeof(an_block),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = block_slots,
};

int
an_block_init(PyObject *module)
{
    an_sched_not_queued = not_queued;
    an_st->type_block = PyType_FromSpec(&block_spec);
    return an_st->type_block == NULL ? -1 : 0;
}
