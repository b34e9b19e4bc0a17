/* ring-inl.h - FIFO of owned references that grows by doubling.                                  Level 0: compat.
 *
 * Invariants
 *   Q1  cap is 0 or a power of two; the items are at (head + i) & (cap - 1) for 0 <= i < len
 *   Q2  push_front and pop keep the order of the others
 * Owns     every item: push takes a new reference, pop gives it away
 * Thread   any, with the GIL. None of these runs Python, so none can switch.
 */
#ifndef AN_RING_INL_H
#define AN_RING_INL_H

#include "compat.h"

typedef struct {
    PyObject **items;
    size_t head, len, cap;
} an_ring;

/* 0 | -1+MemoryError */
static inline int
an_ring_grow(an_ring *r)
{
    size_t cap = r->cap ? r->cap * 2 : 64;
    PyObject **items = PyMem_New(PyObject *, cap);
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < r->len; i++) {
        items[i] = r->items[(r->head + i) & (r->cap - 1)];
    }
    PyMem_Free(r->items);
    r->items = items;
    r->cap = cap;
    r->head = 0;
    return 0;
}

static inline int
an_ring_push(an_ring *r, PyObject *o)
{
    if (AN_UNLIKELY(r->len == r->cap) && an_ring_grow(r) < 0) {
        return -1;
    }
    r->items[(r->head + r->len) & (r->cap - 1)] = Py_NewRef(o);
    r->len++;
    return 0;
}

static inline int
an_ring_push_front(an_ring *r, PyObject *o)
{
    if (r->len == r->cap && an_ring_grow(r) < 0) {
        return -1;
    }
    r->head = (r->head - 1) & (r->cap - 1);
    r->items[r->head] = Py_NewRef(o);
    r->len++;
    return 0;
}

/* new ref | NULL when empty, no exception */
static inline PyObject *
an_ring_pop(an_ring *r)
{
    if (r->len == 0) {
        return NULL;
    }
    PyObject *o = r->items[r->head];
    r->head = (r->head + 1) & (r->cap - 1);
    r->len--;
    return o;
}

static inline PyObject *
an_ring_pop_back(an_ring *r)
{
    if (r->len == 0) {
        return NULL;
    }
    r->len--;
    return r->items[(r->head + r->len) & (r->cap - 1)];
}

/* borrowed, valid until the next push or pop */
static inline PyObject *
an_ring_at(const an_ring *r, size_t i)
{
    return r->items[(r->head + i) & (r->cap - 1)];
}

/* Take the item at i out; the caller gets its reference. */
static inline PyObject *
an_ring_take(an_ring *r, size_t i)
{
    PyObject *o = an_ring_at(r, i);
    for (; i + 1 < r->len; i++) {
        r->items[(r->head + i) & (r->cap - 1)] = an_ring_at(r, i + 1);
    }
    r->len--;
    return o;
}

/* Runs Python (decref): the ring is empty before the first item is released. */
static inline void
an_ring_clear(an_ring *r)
{
    an_ring old = *r;
    r->items = NULL;
    r->head = r->len = r->cap = 0;
    for (size_t i = 0; i < old.len; i++) {
        Py_DECREF(old.items[(old.head + i) & (old.cap - 1)]);
    }
    PyMem_Free(old.items);
}

#endif
