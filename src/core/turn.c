#include "turn.h"
#include "driver.h"
#include "exits.h"
#include "fiber.h"
#include "overrides.h"
#include "poll.h"
#include "stopping.h"

/* A foreign run_forever's stack: let the stacks that became ready go on, and come back when one of the hubs under them
 * gives the loop back. Contexts are left meanwhile, as in any sleep. MAY SWITCH */
static int
lend_base(an_thread *th)
{
    while (an_block_is_pending(th)) {
        an_contexts contexts;
        PyObject *self = an_fiber_current();
        if (self == NULL || an_contexts_leave(&contexts) < 0) {
            Py_XDECREF(self);
            return -1;
        }
        int rc = 0;
        (void)an_fiber_reap();           /* F8 */
        an_block *b = an_block_next(th); /* nothing between this and the switch may fail, or run Python */
        int none = b == NULL;
        if (none) {
            Py_DECREF(self);
        }
        else {
            Py_XSETREF(th->idle_base, self);
            an_fiber_take(&th->fibers, self); /* the one that iterates a loop of a foreign run_forever */
            rc = an_hub_switch(th, self, b->fiber, b->carrier);
            Py_DECREF(b);
            Py_CLEAR(th->idle_base);
        }
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
        if (none) {
            break;
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

/* Look at everything that may have changed since this loop's last turn. 0 | -1+exc; runs Python */
static int
begin(an_thread *th, PyObject *loop, an_loop *rec)
{
    if (th->place.in_hub && rec->carried) {
        return 0;
    }
    if (!th->place.in_base_iter) {
        rec->inflight = 0;
        th->place.slept = 0;
    }
    if (rec->n_blocks > 0) {
        an_block_wake_missed(th, rec);
    }
    return an_loop_refresh(rec, loop);
}

/* 0 the batch is over, or what is left of it has to wait | -1+exc. MAY SWITCH */
static int
run_batch(an_thread *th, PyObject *loop, an_loop *rec, int base, int guest)
{
    int rc;
    do {
        PyObject *due = NULL;
        if (an_block_is_pending(th)) {
            if (!base || guest) {
                return 0; /* the hub under us hands over; what is left of the batch is run in the next call */
            }
            if (lend_base(th) < 0) {
                return -1;
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
    return rc;
}

int
an_turn(an_thread *th, PyObject *loop, an_loop *rec)
{
    if (begin(th, loop, rec) < 0) {
        return -1;
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
    int rc = run_batch(th, loop, rec, base, guest);
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
        rc = an_stopping_nested(rec) < 0 ? -1 : 0;
    }
    return rc;
}

int
an_turn_init(PyObject *module)
{
    an_block_after_wake = after_wake;
    return 0;
}
