#include "hub.h"
#include "begin.h"
#include "driver.h"
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

#define AN_IDLE_MAX 8
/* Each has a stack of its own, so no recursion limit stops a coroutine that runs itself: memory would. */
#define AN_SUSPENDED_MAX 250000

static const char stopped_message[] = "Event loop stopped before Future completed.";

/* ---- moves of a hub ------------------------------------------------------------ */

typedef enum { MOVE_PARK, MOVE_END } hub_move;

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

/* loop.stop() while a nested run_forever waits: that one returns, the loop goes on. 1 done | 0 there is none | -1+exc */
static int
stop_nested(an_loop *rec)
{
    if (rec->stop_waiters == NULL) {
        return 0;
    }
    Py_ssize_t n = PyList_GET_SIZE(rec->stop_waiters);
    if (n == 0) {
        return 0;
    }
    PyObject *fut = Py_NewRef(PyList_GET_ITEM(rec->stop_waiters, n - 1));
    rec->stopping = AN_STOP_NO;
    if (PyList_SetSlice(rec->stop_waiters, n - 1, n, NULL) < 0) {
        Py_DECREF(fut);
        return -1;
    }
    PyObject *done = PyObject_CallMethodNoArgs(fut, an_st->s_done), *r = NULL;
    if (done == Py_False) {
        r = PyObject_CallMethod(fut, "set_result", "O", Py_None);
    }
    else if (done != NULL) {
        r = Py_NewRef(Py_None);
    }
    Py_XDECREF(done);
    Py_DECREF(fut);
    if (r == NULL) {
        return -1;
    }
    Py_DECREF(r);
    return 1;
}

/* The loop is to stop, its iteration is over. 1 something was made pending: go on | 0 nothing is in the way */
static int
stop_suspended(an_thread *th, an_run *run)
{
    an_loop *rec = run->rec;
    if (run->kind == AN_RUN_ADOPTED) {
        an_block *b = an_block_of_base(th);
        if (b == NULL && rec->stopping == AN_STOP_USER) {
            b = an_block_newest(th, rec);
        }
        if (b == NULL) {
            return 0;
        }
        an_block_end(b, stopped_message);
        return 1;
    }
    if (rec->stopping != AN_STOP_USER) {
        return 0;
    }
    an_block *b = an_block_newest(th, rec);
    if (b == NULL) {
        return 0;
    }
    rec->ending = 1;
    an_block_end(b, stopped_message);
    return 1;
}

static int
iterate_override(an_run *run)
{
    PyObject *r = PyObject_CallMethodNoArgs(run->loop, an_st->s__run_once);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* Carry the thread's newest run until this hub has to go somewhere else. *TARGET gets a strong reference, and *CARRIER one to
 * what stands for that, if it does not do so itself.
 * Everything is read anew in each round: any handle may have switched away and back. MAY SWITCH */
static AN_NOINLINE hub_move
carry(an_thread *th, PyObject *self, an_link *link, PyObject **target, PyObject **carrier)
{
    for (;;) {
        if (AN_UNLIKELY(th->fibers.passed != NULL)) {
            an_fiber_forget(&th->fibers);
        }
        an_run *run = th->run;
        an_block *b = NULL;
        if (AN_UNLIKELY(th->fibers.carrier != self)) {
            an_fiber_take(&th->fibers, self); /* foreign code left another stack amid a handle, and came back to this one */
            th->place = (an_place){.in_hub = 1};
            th->moved = 1;
        }
        if (AN_UNLIKELY(th->moved)) {
            th->moved = 0;
            an_link_set(link, an_block_beneath(th));
        }
        if (AN_UNLIKELY(run == NULL)) {
            an_fiber_take(&th->fibers, NULL);
            *target = NULL;
            return MOVE_END;
        }
        if (AN_UNLIKELY(run->kind == AN_RUN_DRAINING)) {
            *target = Py_NewRef(run->base);
            return MOVE_END;
        }
        if (AN_UNLIKELY(th->pending.len > 0)) {
            b = an_block_next(th);
            if (b == NULL && th->run != run) {
                continue;
            }
        }
        if (AN_UNLIKELY(b != NULL)) {
            if (AN_UNLIKELY(b->fiber != b->carrier)) {
                an_foreign_release(b->fiber, b->carrier, self);
                *carrier = Py_NewRef(b->carrier);
            }
            b->handed = 1;
            *target = Py_NewRef(b->fiber);
            Py_DECREF(b);
            return th->idle.len < AN_IDLE_MAX ? MOVE_PARK : MOVE_END;
        }
        if (AN_UNLIKELY(th->idle_base != NULL && run->kind == AN_RUN_ADOPTED)) {
            *target = th->idle_base;
            th->idle_base = NULL;
            return MOVE_PARK;
        }
        if (AN_UNLIKELY(run->kind == AN_RUN_FOREIGN)) {
            if (th->job.callback != NULL) {
                an_fiber_set_serves(self, run->rec);
                if (AN_UNLIKELY(an_job_run(th) < 0)) {
                    an_exits_to_foreign(th);
                }
                an_fiber_set_serves(self, NULL);
                continue;
            }
            *target = Py_NewRef(th->idle_base);
            return th->idle.len < AN_IDLE_MAX ? MOVE_PARK : MOVE_END;
        }
        an_loop *rec = run->rec;
        PyObject *loop = run->loop;
        PyObject *due = NULL;
        int rc = an_loop_step(rec, loop, &due);
        if (due != NULL) {
            an_block_wake((an_block *)due);
            Py_DECREF(due);
            continue;
        }
        if (AN_LIKELY(rc > 0)) {
            continue;
        }
        if (rc == 0) {
            if (AN_UNLIKELY(rec->stopping && run->polled)) {
                rc = rec->stopping == AN_STOP_USER ? stop_nested(rec) : 0;
                if (rc > 0 || (rc == 0 && stop_suspended(th, run))) {
                    continue;
                }
                if (rc == 0 && run->kind == AN_RUN_OWN) {
                    rec->ending = 0;
                    run->finished = 1;
                    *target = Py_NewRef(run->base);
                    return MOVE_END;
                }
            }
            if (rc == 0) {
                run->polled = 1;
                th->place.slept = 0;             /* no handle is under way on this stack */
                rc = an_loop_keep_up(rec, loop); /* whose iteration it is, is asked when it begins */
            }
            if (AN_UNLIKELY(rc == 0 && (rec->overrides & AN_OVR_RUN_ONCE))) {
                rc = iterate_override(run);
            }
            else if (rc == 0) {
                th->sigint_raised = 0;
                Py_INCREF(loop); /* a signal handler or a method of the loop's own may sleep in there, too */
                Py_INCREF(rec);
                rc = an_loop_poll(rec, loop, 1);
                Py_DECREF(rec);
                Py_DECREF(loop);
            }
        }
        if (AN_UNLIKELY(rc < 0)) {
            run = th->run;
            if (an_exits_place(th, run)) {
                run->finished = 1;
                *target = Py_NewRef(run->base);
                return MOVE_END;
            }
        }
    }
}

void
an_hub_bury(an_thread *th)
{
    PyObject *corpse = th->corpse;
    if (AN_LIKELY(corpse == NULL)) {
        return;
    }
    th->corpse = NULL;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *base = th->run != NULL && th->run->base != NULL ? th->run->base : th->tramp;
    if (base != NULL && !an_fiber_active(corpse) && an_fiber_set_parent(corpse, base) < 0) {
        PyErr_Clear(); /* of another thread's making: its chain is not ours */
    }
    Py_DECREF(corpse);
    PyErr_SetRaisedException(exc);
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
    PyObject *target, *carrier;
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
            break;
        }
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
    /* An error leaves a Python frame without a look at signals and garbage: this stack is nobody's now. */
    an_fiber_exit();
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

void
an_hub_undo(an_thread *th)
{
    th->preparing--;
    an_hub_settle(th);
}

/* ---- carrying ------------------------------------------------------------ */

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
        PyObject *hub = an_ring_pop_back(&th->idle);
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

/* A foreign run_forever's stack: let the stacks that became ready go on, and come back when one of the hubs under them
 * gives the loop back. Contexts are left meanwhile, as in any sleep. MAY SWITCH */
static int
lend_base(an_thread *th)
{
    an_block *b;
    while ((b = an_block_next(th)) != NULL) {
        an_contexts contexts;
        PyObject *self = an_fiber_current();
        if (self == NULL || an_contexts_leave(&contexts) < 0) {
            Py_XDECREF(self);
            Py_DECREF(b);
            return -1;
        }
        b->handed = 1;
        Py_XSETREF(th->idle_base, self);
        an_fiber_take(&th->fibers, self); /* the one that iterates a loop of a foreign run_forever */
        int rc = an_hub_switch(th, self, b->fiber, b->carrier);
        Py_DECREF(b);
        Py_CLEAR(th->idle_base);
        PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
        if (an_contexts_enter(&contexts) < 0) {
            rc = -1;
        }
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
        if (rc < 0) {
            return -1;
        }
    }
    an_hub_settle(th);
    return 0;
}

static void
after_wake(an_thread *th)
{
    /* hubs and C iterations look at pending themselves; frames of asyncio's own _run_once do not */
    if (!th->place.in_hub && !th->place.in_base_iter) {
        (void)lend_base(th);
    }
}

int
an_hub_run_once(an_thread *th, PyObject *loop, an_loop *rec)
{
    if (!th->place.in_hub || !rec->carried) {
        if (!th->place.in_base_iter) {
            rec->inflight = 0;
            th->place.slept = 0;
        }
        if (rec->n_blocks > 0) {
            an_block_wake_missed(th, rec);
        }
        if (an_loop_refresh(rec, loop) < 0) {
            return -1;
        }
    }
    int guest = rec->guest != NULL;
    if (!(guest && rec->todo > 0)) {
        if (an_loop_poll(rec, loop, !guest && th->pending.len == 0) < 0) {
            return -1;
        }
    }
    int base = !th->place.in_hub;
    PyObject *carrier = NULL;
    if (base) {
        th->place.in_base_iter++;
        carrier = th->fibers.carrier;
        th->fibers.carrier = an_fiber_current();
        PyErr_Clear(); /* there is none any more when the interpreter ends */
    }
    Py_INCREF(rec);
    rec->iterating++;
    int rc;
    do {
        PyObject *due = NULL;
        if (an_block_is_pending(th)) {
            if (!base || guest) {
                rc = 0; /* the hub under us hands over; what is left of the batch is run in the next call */
                break;
            }
            if (lend_base(th) < 0) {
                rc = -1;
                break;
            }
        }
        rc = an_loop_step(rec, loop, &due);
        if (due != NULL) {
            an_block_wake((an_block *)due);
            Py_DECREF(due);
        }
        if (AN_UNLIKELY(rc < 0) && an_exits_has_place(th, rec)) {
            rc = 1;
        }
    } while (rc > 0);
    if (base) {
        th->place.in_base_iter--;
        if (carrier != NULL || th->run == NULL) {
            an_fiber_take(&th->fibers, th->run == NULL ? NULL : carrier); /* F2: what was suspended is over */
        }
        Py_XDECREF(carrier);
    }
    rec->iterating--;
    if (AN_UNLIKELY(rc < 0) && (base || guest)) {
        an_exits_mark(th, rec); /* else a loop's own _run_once called us, and the hub under that sees to it */
    }
    Py_DECREF(rec); /* (the loop has another one) */
    if (rc == 0 && base && !guest && rec->stopping == AN_STOP_USER) {
        rc = stop_nested(rec) < 0 ? -1 : 0;
    }
    return rc;
}

/* ---- leaving ------------------------------------------------------------ */

/* A nested run on a loop that asyncio's own run_forever iterates, and was iterating when aionest came: which stack that one
 * stands on is not known, but foreign greenlets hang below it, and it is nearly always the thread's first. */
static int
adopt_carrier(an_thread *th)
{
    PyObject *fiber = an_fiber_current(), *parent;
    while (fiber != NULL && (parent = an_fiber_parent(fiber)) != NULL) {
        Py_SETREF(fiber, parent);
    }
    if (fiber == NULL) {
        return -1;
    }
    an_fiber_take(&th->fibers, fiber);
    Py_DECREF(fiber);
    return 0;
}

static int
refuse_own_stack(an_thread *th, PyObject *loop)
{
    an_run *run = th->run;
    while (run != NULL && run->loop != loop) {
        run = run->prev;
    }
    an_err_own_stack(loop, run == NULL);
    return -1;
}

int
an_hub_prepare(an_thread *th, PyObject *loop, an_loop *rec)
{
    if (th->run != NULL && th->run->kind == AN_RUN_DRAINING) {
        an_err("NestedRunError", "the event loop is being closed: a nested run cannot wait any more");
        return -1;
    }
    if (rec->ending) {
        an_err("NestedRunError", "%s", stopped_message);
        return -1;
    }
    if (AN_UNLIKELY(th->n_blocks >= AN_SUSPENDED_MAX)) {
        PyErr_Format(PyExc_RecursionError,
                     "%d nested runs are suspended on this thread at once: does a coroutine run itself over and over?",
                     AN_SUSPENDED_MAX);
        return -1;
    }
    if (rec->foreign) {
        if (th->run == NULL || th->run->kind != AN_RUN_FOREIGN || !th->place.in_hub) {
            return refuse_own_stack(th, loop);
        }
        th->preparing++;
        return 0;
    }
    if (th->run == NULL || (!rec->carried && rec->guest == NULL)) {
        if (an_driver_check(rec, loop) < 0) {
            return -1;
        }
        if (an_run_push(th, AN_RUN_ADOPTED, loop, rec, NULL) == NULL) {
            return -1;
        }
    }
    th->preparing++;
    if (th->fibers.carrier == NULL && adopt_carrier(th) < 0) {
        an_hub_undo(th);
        return -1;
    }
    if (th->run->kind == AN_RUN_ADOPTED && th->tramp == NULL) {
        PyObject *tramp = an_fiber_new(&th->fibers, an_st->tramp_main, th->fibers.carrier, th->fibers.carrier);
        if (tramp == NULL) {
            an_hub_undo(th);
            return -1;
        }
        if (th->tramp == NULL) {
            th->tramp = tramp;
        }
        else {
            Py_DECREF(tramp); /* a finalizer nested */
        }
    }
    return 0;
}

int
an_hub_commit(an_thread *th, an_loop *rec)
{
    an_run *run = th->run;
    if (run == NULL || run->kind == AN_RUN_DRAINING || rec->ending || (run->kind == AN_RUN_ADOPTED && th->tramp == NULL)) {
        an_err("NestedRunError", "%s", stopped_message);
        return -1;
    }
    th->preparing--;
    return 0;
}

int
an_hub_leave(an_thread *th, an_block *b)
{
    an_run *run = th->run;
    PyObject *fiber = NULL, *base = run->kind == AN_RUN_OWN ? run->base : th->tramp;
    int is_base = base == b->fiber;
    th->bases_asleep += is_base;
    if (AN_UNLIKELY(run->kind == AN_RUN_FOREIGN)) {
        fiber = Py_NewRef(th->idle_base);
    }
    else if (run->kind == AN_RUN_ADOPTED && th->idle_base != NULL) {
        fiber = th->idle_base;
        th->idle_base = NULL;
    }
    if (fiber == NULL) {
        fiber = an_ring_pop_back(&th->idle);
    }
    if (fiber == NULL) {
        fiber = AN_LIKELY(th->bases_asleep == 0) ? Py_NewRef(base) : an_fiber_new(&th->fibers, an_st->hub_start, base, base);
        if (AN_UNLIKELY(fiber == NULL)) {
            th->bases_asleep -= is_base;
            return -1;
        }
    }
    th->place = (an_place){.in_hub = an_fiber_is_ours(fiber)};
    PyObject *expected = th->fibers.expected; /* compared only */
    int rc = an_fiber_sleep(&th->fibers, b->fiber, fiber);
    while (AN_UNLIKELY(rc == AN_FIBER_THROWN)) {
        if (b->state == AN_BLOCK_OVER) {
            rc = -1; /* its thread's end let go of it */
            break;
        }
        an_block_interrupt(b, PyErr_GetRaisedException());
        rc = an_fiber_sleep_on(&th->fibers, b->fiber, b->carrier, expected);
    }
    th->place = b->place;
    th->bases_asleep -= is_base;
    an_hub_bury(th);
    Py_DECREF(fiber);
    return rc;
}

/* ---- module ------------------------------------------------------------ */

static PyMethodDef hub_main_def = {"carry", hub_main, METH_NOARGS, NULL};
static PyMethodDef tramp_main_def = {"trampoline", tramp_main, METH_NOARGS, NULL};

int
an_hub_init(PyObject *module)
{
    an_block_after_wake = after_wake;
    an_thread_at_end = an_ending_of_thread;
    if ((an_st->hub_main = PyCFunction_New(&hub_main_def, NULL)) == NULL || an_begin_init(module) < 0 ||
        (an_st->tramp_main = PyCFunction_New(&tramp_main_def, NULL)) == NULL) {
        return -1;
    }
    return 0;
}
