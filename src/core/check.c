#include "check.h"
#include "chunks.h"
#include "fiber.h"
#include "foreign.h"
#include "handle.h"
#include "overrides.h"

static AN_NOINLINE int
broken(const char *what)
{
    PyErr_Format(PyExc_AssertionError, "aionest: invariant %s", what);
    return -1;
}

/* RING (ring-inl.h) holds LEN items in a power of two of places, none of them empty */
static int
check_ring(an_ring *ring)
{
    if ((ring->cap & (ring->cap - 1)) != 0 || ring->len > ring->cap) {
        return broken("Q1: a queue's places are no power of two, or fewer than its items");
    }
    for (size_t i = 0; i < ring->len; i++) {
        if (an_ring_at(ring, i) == NULL) {
            return broken("Q1: a queue has an empty place");
        }
    }
    return 0;
}

static int
check_block(an_thread *th, an_block *b, an_block *before)
{
    if (b->state != AN_BLOCK_WAITING && b->state != AN_BLOCK_READY) {
        return broken("B1: a block in the list neither waits nor is ready");
    }
    if (b->th != th || b->prev != before) {
        return broken("B3: a block in the list is not linked to its thread and to the one before it");
    }
    if (b->fiber == NULL || b->loop == NULL || b->rec == NULL || b->rec->n_blocks <= 0) {
        return broken("B2: a suspended run without a stack, or on a loop that does not count it");
    }
    if (b->signals && !th->is_main) {
        return broken("S1: a run of another thread holds the SIGINT handler");
    }
    if (b->left && b->rec->raised_id == 0) {
        return broken("E2: a run was left by one that ended, but none has");
    }
    if (!an_anchor_check(&b->anchor)) {
        return broken("R1: a hub's frames do not lead to the stack that they are linked to");
    }
    return 0;
}

static int
check_blocks(an_thread *th)
{
    Py_ssize_t n = 0, ready = 0, pending = 0;
    an_block *before = NULL;
    for (an_block *b = th->first; b != NULL; before = b, b = b->next) {
        if (check_block(th, b, before) < 0) {
            return -1;
        }
        n++;
        ready += b->state == AN_BLOCK_READY && !b->handed;
    }
    if (th->last != before || th->n_blocks != n) {
        return broken("N2: the list of blocks and its count or end differ");
    }
    for (size_t i = 0; i < th->pending.len; i++) {
        an_block *b = (an_block *)an_ring_at(&th->pending, i);
        pending += b->state == AN_BLOCK_READY && !b->handed;
    }
    return pending == ready ? 0 : broken("N3: ready blocks and pending ones differ");
}

static int
check_sleepers(an_thread *th)
{
    Py_ssize_t over = 0;
    for (an_block *b = th->first; b != NULL; b = b->next) {
        if (b->carrier == NULL || (b->fiber != b->carrier && an_fiber_is_ours(b->fiber))) {
            return broken("F1: a stack of ours sleeps over another one");
        }
        if (!b->handed && an_fiber_is_current(b->fiber)) {
            return broken("B2: a stack that sleeps in a nested run is the one that runs");
        }
        over += b->fiber != b->carrier;
    }
    Py_ssize_t stranded = an_foreign_count(&th->fibers);
    return stranded == over || stranded == -2 ? 0 : broken("G1: stranded stacks and foreign ones that sleep differ");
}

/* Called by code that runs, so on the carrier or on a foreign stack over it. */
static int
check_fibers(an_thread *th)
{
    an_fibers *fs = &th->fibers;
    if (fs->expected != NULL && fs->expected != fs->carrier && an_fiber_is_ours(fs->expected)) {
        return broken("F3: a switch of ours is under way, but another stack runs");
    }
    if (th->place.in_hub && (fs->carrier == NULL || !an_fiber_is_ours(fs->carrier))) {
        return broken("N6: what the stack has entered is another one's: it stands on no hub");
    }
    if (th->place.as_guest && !th->place.in_hub) {
        return broken("H4: a guest's step without a pump is on no hub, which would leave it");
    }
    if (fs->carrier == NULL && th->run != NULL && th->run->kind != AN_RUN_FOREIGN) {
        return broken("F2: no stack stands for the one that the loop runs on");
    }
    if (fs->carrier != NULL && !an_fiber_active(fs->carrier)) {
        return broken("F2: a stack that has ended stands for the one that the loop runs on");
    }
    for (size_t i = 0; i < th->idle.len; i++) {
        if (an_ring_at(&th->idle, i) == fs->carrier) {
            return broken("F2: an idle hub is taken for the one that carries the loop");
        }
    }
    return check_sleepers(th);
}

static int
check_foreign_run(an_thread *th)
{
    if (th->run == NULL || th->run->kind != AN_RUN_FOREIGN || !th->place.in_hub) {
        return 0;
    }
    if (th->idle_base == NULL) {
        return broken("X1: a callback runs, and its loop's own stack is not known");
    }
    if (th->run->deepest == 0 || th->run->deepest > th->run->highest) {
        return broken("X6: a callback runs, and how deep its loop's own stack reaches is not known");
    }
    if (th->run->amid != 0 && an_fiber_begins(th->fibers.carrier) > th->run->amid) {
        return broken("X6: a callback runs where its loop's own frames are");
    }
    for (an_run *run = th->run->prev; run != NULL; run = run->prev) {
        if (run->amid != 0) {
            return broken("X7: a guest's loop runs amid something else than the queue of the one around it");
        }
    }
    const void *rec = an_fiber_serves(th->fibers.carrier);
    return rec == NULL || rec == th->run->rec ? 0 : broken("X5: a callback of one loop goes on in the run of another");
}

static int
check_idle(an_thread *th)
{
    if (check_ring(&th->idle) < 0 || check_ring(&th->pending) < 0) {
        return -1;
    }
    for (size_t i = 0; i < th->idle.len; i++) {
        PyObject *hub = an_ring_at(&th->idle, i);
        if (!an_fiber_active(hub) || an_fiber_is_current(hub) || an_fiber_is_over(hub)) {
            return broken("N1: an idle hub's stack runs or has ended");
        }
        an_link *link = an_fiber_link(hub);
        if (link != NULL && link->to != NULL) {
            return broken("R3: the frames of an idle hub lead somewhere");
        }
    }
    return 0;
}

static int
check_thread(an_thread *th)
{
    if (check_idle(th) < 0) {
        return -1;
    }
    if (th->place.in_base_iter < 0 || th->place.inplace_depth < 0 || th->preparing < 0) {
        return broken("N6: what a stack had entered was left twice");
    }
    for (an_run *run = th->run; run != NULL; run = run->prev) {
        if (run->kind == AN_RUN_DRAINING ? run->base == NULL
                                         : run->loop == NULL || run->rec == NULL || run->rec->carried <= 0) {
            return broken("H1: a run without a loop, or a loop that does not know that it is carried");
        }
        if (!an_anchor_check(&run->anchor)) {
            return broken("R1: a hub's frames do not lead to the base that they are linked to");
        }
        if (run->kind == AN_RUN_OWN && run->base == NULL) {
            return broken("H3: a run without a base");
        }
    }
    return check_blocks(th) < 0 || check_fibers(th) < 0 ? -1 : check_foreign_run(th);
}

static int
check_heap(an_loop *rec)
{
    PyObject *heap = rec->scheduled;
    for (Py_ssize_t i = 1; rec->order == AN_HEAP_SETTLED && i < PyList_GET_SIZE(heap); i++) {
        double child, parent;
        if (an_timer_when(PyList_GET_ITEM(heap, i), &child) && an_timer_when(PyList_GET_ITEM(heap, (i - 1) >> 1), &parent) &&
            parent > child) {
            return broken("L2: the timers are no heap");
        }
    }
    return 0;
}

static int
check_loop(an_loop *rec, PyObject *loop)
{
    if (rec->todo < 0 || rec->carried < 0 || rec->n_blocks < 0) {
        return broken("L1: a count below zero");
    }
    if (check_ring(&rec->ready) < 0) {
        return -1;
    }
    if (an_loop_peek(loop) != rec || rec->loop_ref == NULL || ((PyWeakReference *)rec->loop_ref)->wr_object != loop) {
        return broken("L4: a loop's record does not lead to the loop");
    }
    if ((rec->own_ready != NULL || rec->own_scheduled != NULL) && !an_loop_is_stale(rec, loop) &&
        !(rec->overrides & AN_OVR_CALL_SOON)) {
        return broken("L5: a loop has a queue of its own, but ours is filled");
    }
    return check_heap(rec);
}

PyObject *
an_py_check(PyObject *module, PyObject *noargs)
{
    an_state *st = an_st;
    an_thread *th = an_thread_peek();
    if (th != NULL && check_thread(th) < 0) {
        return NULL;
    }
    PyObject *loops = an_loop_all();
    if (loops == NULL) {
        return NULL;
    }
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(loops); i++) {
        PyObject *loop = PyList_GET_ITEM(loops, i);
        an_loop *rec = an_loop_peek(loop);
        rc = rec == NULL ? 0 : check_loop(rec, loop);
    }
    Py_DECREF(loops);
    if (rc == 0 && !an_handle_free_check()) {
        rc = broken("D2: a handle that is kept for later owns something, or the collector knows it");
    }
    if (rc == 0 && !an_chunks_check()) {
        rc = broken("C1, C2: a block of chunks is full and said to have room, or too many are mapped without use");
    }
    if (rc == 0 && (st->n_records < 0 || st->n_blocks < 0 || st->n_hubs < 0 || st->n_threads < 0 || st->n_handles < 0)) {
        rc = broken("S1: fewer than no objects");
    }
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}
