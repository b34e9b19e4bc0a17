#include "leave.h"
#include "driver.h"
#include "err.h"
#include "fiber.h"
#include "runs.h"
#include "stopping.h"

/* Each has a stack of its own, so no recursion limit stops a coroutine that runs itself: memory would. */
#define AN_SUSPENDED_MAX 250000

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

void
an_leave_undo(an_thread *th)
{
    th->preparing--;
    an_hub_settle(th);
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
an_leave_prepare(an_thread *th, PyObject *loop, an_loop *rec)
{
    if (th->run != NULL && th->run->kind == AN_RUN_DRAINING) {
        an_err("NestedRunError", "the event loop is closing: a nested run can no longer wait on it");
        return -1;
    }
    if (rec->ending) {
        an_err("NestedRunError", "%s", an_stopping_message);
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
        an_leave_undo(th);
        return -1;
    }
    if (th->run->kind == AN_RUN_ADOPTED && th->tramp == NULL) {
        PyObject *tramp = an_fiber_new(&th->fibers, an_st->tramp_main, th->fibers.carrier, th->fibers.carrier);
        if (tramp == NULL) {
            an_leave_undo(th);
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
an_leave_commit(an_thread *th, an_loop *rec)
{
    (void)an_fiber_reap(); /* F8 */
    an_run *run = th->run;
    if (run == NULL || run->kind == AN_RUN_DRAINING || rec->ending || (run->kind == AN_RUN_ADOPTED && th->tramp == NULL)) {
        an_err("NestedRunError", "%s", an_stopping_message);
        return -1;
    }
    th->preparing--;
    return 0;
}

int
an_leave(an_thread *th, an_block *b)
{
    an_run *run = th->run;
    PyObject *fiber = NULL, *base = run->kind == AN_RUN_OWN ? run->base : th->tramp;
    int is_base = base == b->carrier; /* a foreign stack may be over it: an_fiber_reap() */
    th->bases_asleep += is_base;
    if (AN_UNLIKELY(run->kind == AN_RUN_FOREIGN)) {
        fiber = Py_NewRef(th->idle_base);
    }
    else if (run->kind == AN_RUN_ADOPTED && th->idle_base != NULL) {
        fiber = th->idle_base;
        th->idle_base = NULL;
    }
    if (fiber == NULL) {
        fiber = an_hub_idle(th, 0, 0);
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
