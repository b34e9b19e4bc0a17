#include "relay.h"

#define AN_RELAY_CROWD 4  /* threads */
#define AN_RELAY_BATCH 16 /* due, at most, before the loop stands back though it has work */
#define AN_RELAY_TURNS 16 /* of the loop, as well */
#define AN_RELAY_STEP 300 /* microseconds in which one of them has to come back, or twice as many */
#define AN_RELAY_PAUSE_MIN 64
#define AN_RELAY_PAUSE_MAX 4096

int
an_relay_add(an_relay *r, an_gate *gate)
{
    if (r->waiting < AN_RELAY_CROWD) {
        return 0;
    }
    if (r->direct > 0) {
        r->direct--;
        return 0;
    }
    if (an_ring_push(&r->due, (PyObject *)gate) < 0) {
        PyErr_Clear();
        return 0;
    }
    gate->due = 1;
    r->relayed++;
    return 1;
}

/* The next one that has not found out by itself. new ref, now open | NULL */
static an_gate *
next_gate(an_relay *r)
{
    PyObject *o;
    while ((o = an_ring_pop(&r->due)) != NULL) {
        an_gate *g = (an_gate *)o;
        if (!g->open) {
            g->open = 1;
            return g;
        }
        Py_DECREF(o);
    }
    return NULL;
}

void
an_relay_flush(an_relay *r)
{
    an_gate *g;
    while ((g = next_gate(r)) != NULL) {
        PyThread_release_lock(g->lock);
        Py_DECREF(g);
    }
}

void
an_relay_clear(an_relay *r)
{
    an_relay_flush(r);
    an_ring_clear(&r->due);
    if (r->turn != NULL) {
        PyThread_release_lock(r->turn);
        PyThread_free_lock(r->turn);
        r->turn = NULL;
    }
}

void
an_relay_next(an_relay *r, an_baton *baton)
{
    an_gate *g = next_gate(r);
    baton->gate = (PyObject *)g;
    baton->lock = NULL;
    AN_COUNTER_ADD(&r->steps, 1);
    if (g != NULL) {
        baton->lock = g->lock;
    }
    else if (r->running) {
        r->running = 0;
        baton->lock = r->turn;
    }
}

void
an_relay_hand(an_baton *baton)
{
    if (baton->lock != NULL) {
        PyThread_release_lock(baton->lock);
    }
}

void
an_relay_done(an_baton *baton)
{
    baton->lock = NULL;
    Py_CLEAR(baton->gate);
}

/* 0 | -1 no lock can be had, no exception */
static int
make_turn(an_relay *r)
{
    if (r->turn == NULL && (r->turn = PyThread_allocate_lock()) != NULL) {
        (void)PyThread_acquire_lock(r->turn, NOWAIT_LOCK);
    }
    return r->turn == NULL ? -1 : 0;
}

/* Did all come back, or are they elsewhere? */
static void
learn(an_relay *r, int late)
{
    if (!late) {
        r->lates = 0;
        if (r->pause > AN_RELAY_PAUSE_MIN) {
            r->pause /= 2;
        }
    }
    else if (++r->lates >= 2) {
        r->lates = 0;
        r->pause = r->pause < AN_RELAY_PAUSE_MIN ? AN_RELAY_PAUSE_MIN : r->pause;
        r->direct = r->pause;
        r->pause = r->pause < AN_RELAY_PAUSE_MAX ? r->pause * 2 : AN_RELAY_PAUSE_MAX;
    }
}

int
an_relay_run(an_relay *r, int sleep)
{
    if (!sleep && r->due.len < AN_RELAY_BATCH && ++r->turns < AN_RELAY_TURNS) {
        return 0;
    }
    r->turns = 0;
    if (r->due.len < AN_RELAY_CROWD || make_turn(r) < 0) {
        an_relay_flush(r);
        return 0;
    }
    an_baton baton;
    an_relay_next(r, &baton);
    if (baton.lock == NULL) {
        return 0; /* all have found out by themselves */
    }
    r->running = 1;
    PyLockStatus status;
    long before, steps = AN_COUNTER_GET(&r->steps);
    Py_BEGIN_ALLOW_THREADS
    an_relay_hand(&baton);
    do {
        before = steps;
        status = PyThread_acquire_lock_timed(r->turn, AN_RELAY_STEP, 0);
        steps = AN_COUNTER_GET(&r->steps);
    } while (status != PY_LOCK_ACQUIRED && steps != before);
    Py_END_ALLOW_THREADS
    an_relay_done(&baton);
    int late = status != PY_LOCK_ACQUIRED;
    if (late && !r->running) {
        (void)PyThread_acquire_lock(r->turn, WAIT_LOCK); /* it is our turn since: whoever says so needs no GIL for it */
        late = 0;
    }
    r->running = 0;
    learn(r, late);
    an_relay_flush(r);
    return 1;
}
