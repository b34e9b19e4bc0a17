#include "hub.h"
#include "batch.h"
#include "begin.h"
#include "ending.h"
#include "err.h"
#include "exits.h"
#include "fiber.h"
#include "foreign.h"
#include "job.h"
#include "overrides.h"
#include "poll.h"
#include "runs.h"
#include "signals.h"
#include "stopping.h"

#define AN_IDLE_MAX 8
/* ---- moves of a hub ------------------------------------------------------------ */

typedef enum { MOVE_STAY, MOVE_ASK_AGAIN, MOVE_PARK, MOVE_END } hub_move;

int
an_hub_switch(an_thread *th, PyObject *self, PyObject *fiber, PyObject *carrier)
{
    an_place place = th->place;
    th->place = (an_place){.in_hub = an_fiber_is_ours(carrier == NULL ? fiber : carrier)};
    int rc = an_fiber_switch(&th->fibers, self, fiber, carrier);
    th->place = place;
    an_hub_bury(th);
    return rc;
}

static int
iterate_override(an_run *run)
{
    PyObject *r = PyObject_CallMethodNoArgs(run->loop, an_st->s__run_once);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* Nothing keeps a hub from going on with RUN, the thread's newest. */
static inline int
goes_on(an_thread *th, an_run *run)
{
    return run != NULL && th->pending.len == 0 &&
           (run->kind == AN_RUN_OWN || (run->kind == AN_RUN_ADOPTED && th->idle_base == NULL) ||
            (run->kind == AN_RUN_FOREIGN && an_batch_job_is_left(th)));
}

/* Must the hub SELF go somewhere else than on with RUN, the thread's newest? *TARGET and *CARRIER as in carry() */
static inline hub_move
elsewhere(an_thread *th, an_run *run, PyObject *self, PyObject **target, PyObject **carrier)
{
    if (AN_LIKELY(goes_on(th, run))) {
        return MOVE_STAY;
    }
    if (AN_UNLIKELY(an_fiber_reap())) {
        return MOVE_ASK_AGAIN;
    }
    if (AN_UNLIKELY(run == NULL)) {
        an_fiber_take(&th->fibers, NULL);
        return MOVE_END;
    }
    if (AN_UNLIKELY(run->kind == AN_RUN_DRAINING)) {
        *target = Py_NewRef(run->base);
        return MOVE_END;
    }
    if (AN_UNLIKELY(th->pending.len > 0)) {
        an_block *b = an_block_next(th);
        if (AN_LIKELY(b != NULL)) {
            if (AN_UNLIKELY(b->fiber != b->carrier)) {
                an_foreign_release(b->fiber, b->carrier, self);
                *carrier = Py_NewRef(b->carrier);
            }
            *target = Py_NewRef(b->fiber);
            Py_DECREF(b);
            return th->idle.len < AN_IDLE_MAX ? MOVE_PARK : MOVE_END;
        }
        if (th->run != run) {
            return MOVE_ASK_AGAIN;
        }
    }
    if (AN_UNLIKELY(th->idle_base != NULL && run->kind == AN_RUN_ADOPTED)) {
        *target = th->idle_base;
        th->idle_base = NULL;
        return MOVE_PARK;
    }
    if (AN_UNLIKELY(run->kind == AN_RUN_FOREIGN && !an_batch_job_is_left(th))) {
        *target = Py_NewRef(th->idle_base);
        uintptr_t begins = an_fiber_begins(self);
        int fits = begins >= run->deepest - AN_BEGINS_NEAR && begins <= run->deepest + AN_BEGINS_NEAR;
        return fits && th->idle.len < AN_IDLE_MAX ? MOVE_PARK : MOVE_END;
    }
    return MOVE_STAY;
}

/* RUN's batch is over. 1 there is another one, or somebody is ready | 0 the loop has stopped | -1+exc. MAY SWITCH */
static inline int
between_batches(an_thread *th, an_run *run)
{
    an_loop *rec = run->rec;
    PyObject *loop = run->loop;
    if (AN_UNLIKELY(rec->stopping && run->polled)) {
        int rc = rec->stopping == AN_STOP_USER ? an_stopping_nested(rec) : 0;
        if (rc != 0 || an_stopping_suspended(th, run)) {
            return rc < 0 ? -1 : 1;
        }
        if (run->kind == AN_RUN_OWN) {
            rec->ending = 0;
            return 0;
        }
    }
    run->polled = 1;
    th->place.slept = 0;                  /* no handle is under way on this stack */
    if (an_loop_keep_up(rec, loop) < 0) { /* whose iteration it is, is asked when it begins */
        return -1;
    }
    if (AN_UNLIKELY(rec->overrides & AN_OVR_RUN_ONCE)) {
        return iterate_override(run) < 0 ? -1 : 1;
    }
    th->sigint_raised = 0;
    Py_INCREF(loop); /* a signal handler or a method of the loop's own may sleep in there, too */
    Py_INCREF(rec);
    int rc = an_loop_poll(rec, loop, 1);
    Py_DECREF(rec);
    Py_DECREF(loop);
    return rc < 0 ? -1 : 1;
}

/* The next handle of the batch. 0 | -1+exc. MAY SWITCH */
static int
run_handle(an_thread *th)
{
    PyObject *handle = an_ring_pop(&th->job.batch->handles);
    th->job.since = an_job_calls;
    int rc = an_handle_cancelled(handle);
    rc = rc == 0 ? an_handle_run(handle) : rc < 0 ? -1 : 0;
    PyObject *exc = AN_UNLIKELY(rc < 0) ? PyErr_GetRaisedException() : NULL;
    Py_DECREF(handle);
    if (AN_UNLIKELY(exc != NULL)) {
        PyErr_SetRaisedException(exc);
    }
    return rc;
}

static AN_NOINLINE void
run_job(an_thread *th, PyObject *self, an_run *run)
{
    an_fiber_set_serves(self, run->rec);
    int rc = th->job.callback != NULL ? an_job_run(th) : run_handle(th);
    if (AN_UNLIKELY(rc < 0)) {
        an_exits_to_foreign(th);
    }
    an_fiber_set_serves(self, NULL);
}

/* H4. Runs Python */
static AN_NOINLINE void
leave_guest(an_thread *th)
{
    th->place.as_guest = 0;
    PyObject *loop = an_running_loop(), *r = NULL;
    an_loop *rec = loop == NULL ? NULL : an_loop_peek(loop);
    if (rec != NULL && rec->guest != NULL) {
        PyObject *guest = Py_NewRef(rec->guest);
        r = PyObject_CallMethodNoArgs(guest, an_st->s_suspend);
        Py_DECREF(guest);
    }
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(loop);
    }
    Py_XDECREF(r);
    Py_XDECREF(loop);
}

/* Carry the thread's newest run until this hub has to go somewhere else. *TARGET gets a strong reference, and *CARRIER one to
 * what stands for that, if it does not do so itself; both are NULL before.
 * Everything is read anew in each round: any handle may have switched away and back. MAY SWITCH */
static AN_NOINLINE hub_move
carry(an_thread *th, PyObject *self, an_link *link, PyObject **target, PyObject **carrier)
{
    for (;;) {
        if (AN_UNLIKELY(th->fibers.passed != NULL)) {
            an_fiber_forget(&th->fibers);
        }
        if (AN_UNLIKELY(th->fibers.carrier != self)) {
            an_fiber_take(&th->fibers, self); /* foreign code left another stack amid a handle, and came back to this one */
            th->place = (an_place){.in_hub = 1};
            th->moved = 1;
        }
        if (AN_UNLIKELY(th->moved)) {
            th->moved = 0;
            an_link_set(link, an_block_beneath(th));
            if (AN_UNLIKELY(th->place.as_guest)) {
                leave_guest(th);
                continue;
            }
        }
        an_run *run = th->run;
        hub_move move = elsewhere(th, run, self, target, carrier);
        if (AN_UNLIKELY(move != MOVE_STAY)) {
            if (move == MOVE_ASK_AGAIN) {
                continue;
            }
            return move;
        }
        if (AN_UNLIKELY(run->kind == AN_RUN_FOREIGN)) {
            run_job(th, self, run);
            continue;
        }
        PyObject *due = NULL;
        int rc = an_loop_step(run->rec, run->loop, &due);
        if (due != NULL) {
            an_block_wake((an_block *)due);
            Py_DECREF(due);
            continue;
        }
        if (rc == 0) {
            rc = between_batches(th, run);
        }
        if (AN_LIKELY(rc > 0) || AN_UNLIKELY(an_fiber_reap() && rc == 0)) {
            continue;
        }
        if (rc < 0) {
            run = th->run;
            if (!an_exits_place(th, run)) {
                continue;
            }
        }
        run->finished = 1;
        *target = Py_NewRef(run->base);
        return MOVE_END;
    }
}

/* The stack on which the thread's newest run of a loop stands: not that of who ends runs meanwhile, which may be a foreign one.
 * borrowed | NULL */
static PyObject *
ground(an_thread *th)
{
    an_run *run = th->run;
    while (run != NULL && run->kind == AN_RUN_DRAINING) {
        run = run->prev;
    }
    if (run != NULL && run->kind == AN_RUN_FOREIGN) {
        return th->idle_base; /* X1 */
    }
    return run != NULL && run->base != NULL ? run->base : th->tramp;
}

void
an_hub_bury(an_thread *th)
{
    PyObject *corpse = th->corpse, *below = th->below_corpse;
    if (AN_LIKELY(corpse == NULL)) {
        return;
    }
    th->corpse = th->below_corpse = NULL;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *base = ground(th);
    if (base == NULL) {
        base = below;
    }
    if (base != NULL && !an_fiber_active(corpse) && an_fiber_set_parent(corpse, base) < 0) {
        PyErr_Clear(); /* of another thread's making: its chain is not ours */
    }
    Py_DECREF(corpse);
    Py_XDECREF(below);
    PyErr_SetRaisedException(exc);
}

/* An error leaves a Python frame without a look at signals and garbage: this stack is nobody's now. */
static void
leave_frames(an_thread *th)
{
#if !AN_PY312 /* garbage is collected at any allocation, and the error's traceback takes some */
    th->paused_gc |= PyGC_Disable();
#endif
    an_fiber_exit();
}

static PyObject *
hub_main(PyObject *ignored, PyObject *noargs)
{
    an_thread *th = an_thread_get();
    PyObject *self = th == NULL ? NULL : an_fiber_current();
    if (self == NULL) {
        return NULL;
    }
    an_st->n_hubs++;
    an_link *link = an_link_new();
    an_fiber_set_link(self, link);
    an_fiber_take(&th->fibers, self);
    PyObject *target, *carrier, *below;
    for (;;) {
        target = carrier = NULL;
        th->place = (an_place){.in_hub = 1};
        th->moved = 1;
        hub_move move = carry(th, self, link, &target, &carrier);
        an_link_set(link, NULL);
        if (move == MOVE_PARK && an_ring_push(&th->idle, self) < 0) {
            PyErr_Clear();
            move = MOVE_END;
        }
        below = move == MOVE_END ? an_fiber_parent(self) : NULL;
        if (move == MOVE_END && target != NULL && an_fiber_set_parent(self, target) < 0) {
            /* foreign code made us the parent of where we are to go */
            if (an_ring_push(&th->idle, self) < 0) {
                PyErr_WriteUnraisable(self);
            }
            else {
                PyErr_Clear();
                move = MOVE_PARK;
            }
        }
        if (move == MOVE_END) {
            Py_XDECREF(target);
            Py_XSETREF(th->corpse, Py_NewRef(self));
            Py_XSETREF(th->below_corpse, below);
            break;
        }
        Py_CLEAR(below);
        int rc = an_hub_switch(th, self, target, carrier);
        Py_DECREF(target);
        Py_CLEAR(carrier);
        if (rc < 0) {
            /* nobody refers to us any more: greenlet ends us */
            PyErr_Clear();
            break;
        }
        if (an_fiber_is_dismissed(self)) {
            break;
        }
    }
    an_fiber_set_link(self, NULL);
    an_link_free(link);
    an_st->n_hubs--;
    an_fiber_set_over(self, carrier);
    Py_XDECREF(carrier);
    Py_DECREF(self);
    leave_frames(th);
    return NULL;
}

/* Starts hubs for adopted runs, from the depth at which it began itself. */
static PyObject *
tramp_main(PyObject *ignored, PyObject *noargs)
{
    an_thread *th = an_thread_get();
    PyObject *self = th == NULL ? NULL : an_fiber_current();
    if (self == NULL) {
        return NULL;
    }
    an_fiber_take(&th->fibers, self);
    while (!an_fiber_is_dismissed(self)) {
        PyObject *hub = an_fiber_new(&th->fibers, an_st->hub_start, self, self);
        if (hub == NULL || an_hub_switch(th, self, hub, NULL) < 0) {
            Py_XDECREF(hub);
            PyErr_WriteUnraisable(self);
            break;
        }
        Py_DECREF(hub);
    }
    an_fiber_end(&th->fibers, self);
    Py_DECREF(self);
    Py_RETURN_NONE;
}

/* ---- idle fibers ------------------------------------------------------------ */

static void
dismiss_one(an_thread *th, PyObject *fiber, PyObject *self)
{
    (void)an_fiber_reap();
    if (!an_fiber_active(fiber)) {
        return;
    }
    PyObject *carrier = th->fibers.carrier;
    an_fiber_dismiss(fiber);
    if (carrier != NULL && carrier != self) {
        an_foreign_release(self, carrier, fiber);
    }
    if (an_fiber_set_parent(fiber, self) < 0 || an_hub_switch(th, self, fiber, NULL) < 0) {
        PyErr_WriteUnraisable(fiber);
    }
    else if (carrier != NULL && carrier != self && !an_fiber_active(fiber) && an_fiber_set_parent(fiber, carrier) < 0) {
        PyErr_WriteUnraisable(fiber); /* it may be the parent of foreign ones: not SELF, which may be one of them */
    }
}

PyObject *
an_hub_idle(an_thread *th, uintptr_t low, uintptr_t high)
{
    for (size_t i = th->idle.len; i > 0; i--) {
        uintptr_t begins = an_fiber_begins(an_ring_at(&th->idle, i - 1));
        if (AN_LIKELY(begins >= low && begins <= high)) {
            return an_ring_take(&th->idle, i - 1);
        }
    }
    return NULL;
}

int
an_hub_make_room(an_thread *th, PyObject *self)
{
    PyObject *fiber = th->idle.len < AN_IDLE_MAX ? NULL : an_ring_pop(&th->idle);
    if (fiber == NULL) {
        return 0;
    }
    dismiss_one(th, fiber, self);
    Py_DECREF(fiber);
    return 1;
}

void
an_hub_dismiss(an_thread *th)
{
    if (th->idle.len == 0 && th->tramp == NULL) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *self = an_fiber_current();
    PyObject *fiber;
    while (self != NULL && (fiber = an_ring_pop(&th->idle)) != NULL) {
        dismiss_one(th, fiber, self);
        Py_DECREF(fiber);
    }
    if (self != NULL && th->tramp != NULL) {
        fiber = th->tramp;
        th->tramp = NULL;
        dismiss_one(th, fiber, self);
        Py_DECREF(fiber);
    }
    Py_XDECREF(self);
    PyErr_SetRaisedException(exc);
    an_hub_settle(th); /* a tracer or a finalizer may have nested meanwhile */
}

void
an_hub_settle(an_thread *th)
{
    if (AN_LIKELY(th->run != NULL && th->run->kind == AN_RUN_OWN)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    /* (in the midst of a switch to this stack, it does so itself when it has come back) */
    while (th->n_blocks == 0 && th->preparing == 0 && th->run != NULL && th->run->kind == AN_RUN_ADOPTED && !th->place.in_hub &&
           th->fibers.expected == NULL) {
        PyObject *late = an_run_pop(th, th->run);
        if (th->run == NULL) {
            an_hub_dismiss(th);
        }
        if (th->run == NULL && !th->place.in_base_iter) {
            an_fiber_take(&th->fibers, NULL);
        }
        if (late != NULL) {
            an_err_unraisable(late, NULL);
        }
    }
    PyErr_SetRaisedException(exc);
}

/* ---- carrying ------------------------------------------------------------ */

/* an_fiber_reap() on a base, SELF: a run may have slept over it, and the loop stopped meanwhile */
static int
reap_on_base(an_thread *th, PyObject *self)
{
    an_place place = th->place;
    if (AN_LIKELY(!an_fiber_reap())) {
        return 0;
    }
    th->place = place;
    an_fiber_take(&th->fibers, self);
    an_hub_bury(th);
    return 1;
}

int
an_hub_carry(an_thread *th, PyObject *loop, an_loop *rec)
{
    if (an_loop_refresh(rec, loop) < 0) {
        return -1;
    }
    PyObject *self = an_fiber_current();
    an_run *run = self == NULL ? NULL : an_run_push(th, AN_RUN_OWN, loop, rec, self);
    if (run == NULL) {
        Py_XDECREF(self);
        return -1;
    }
    rec->todo = 0;
    if (run->prev == NULL) {
        th->of_runner = th->is_main && an_signals_of_runner();
    }
    int rc = 0;
    PyObject *carrier = Py_XNewRef(th->fibers.carrier), *expected = th->fibers.expected;
    an_fiber_take(&th->fibers, self);
    while (rc == 0 && !run->finished) {
        if (AN_UNLIKELY(reap_on_base(th, self))) {
            continue;
        }
        PyObject *hub = an_hub_idle(th, 0, 0);
        if (hub == NULL) {
            hub = an_fiber_new(&th->fibers, an_st->hub_start, self, self);
        }
        rc = hub == NULL ? -1 : an_hub_switch(th, self, hub, NULL);
        Py_XDECREF(hub);
    }
    PyObject *thrown = rc < 0 ? PyErr_GetRaisedException() : NULL;
    PyObject *exc = an_run_pop(th, run);
    an_hub_settle(th);
    if (th->run == NULL) {
        an_hub_dismiss(th);
        an_signals_release(th);
        th->of_runner = 0;
    }
    an_fiber_take(&th->fibers, carrier);
    th->fibers.expected = expected; /* of the switch in whose midst this run was */
    Py_XDECREF(carrier);
    Py_DECREF(self);
    if (thrown != NULL) {
        Py_XDECREF(exc);
        exc = thrown;
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
        return -1;
    }
    return 0;
}

/* ---- module ------------------------------------------------------------ */

static PyMethodDef hub_main_def = {"carry", hub_main, METH_NOARGS, NULL};
static PyMethodDef tramp_main_def = {"trampoline", tramp_main, METH_NOARGS, NULL};

int
an_hub_init(PyObject *module)
{
    an_thread_at_end = an_ending_of_thread;
    if ((an_st->hub_main = PyCFunction_New(&hub_main_def, NULL)) == NULL || an_begin_init(module) < 0 ||
        (an_st->tramp_main = PyCFunction_New(&tramp_main_def, NULL)) == NULL) {
        return -1;
    }
    return 0;
}
