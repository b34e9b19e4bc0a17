#include "heap.h"
#include "handle.h"

#include <math.h>

#define AN_HEAP_TRIES 10

enum { FAILED = -1, NO = 0, YES = 1, DISTURBED = 2 /* the list was changed meanwhile */ };

static int
plain(PyObject *h)
{
    return Py_IS_TYPE(h, (PyTypeObject *)an_st->type_timer) && AN_HSLOT(h, when) != NULL &&
           PyFloat_CheckExact(AN_HSLOT(h, when));
}

static inline long long
seq_of(PyObject *h)
{
    return *(long long *)((char *)h + an_hl.seq);
}

static AN_NOINLINE int
ask(an_loop *rec, PyObject *list, PyObject *a, PyObject *b)
{
    double x, y;
    if (an_timer_when(a, &x) && an_timer_when(b, &y)) {
        return x < y;
    }
    Py_ssize_t n = PyList_GET_SIZE(list);
    unsigned changes = rec->heap_changes;
    rec->order = AN_HEAP_UNKNOWN;
    Py_INCREF(a);
    Py_INCREF(b);
    int r = PyObject_RichCompareBool(a, b, Py_LT);
    Py_DECREF(a);
    Py_DECREF(b);
    if (r < 0) {
        rec->order = AN_HEAP_UNKNOWN;
        return FAILED;
    }
    if (rec->scheduled != list || rec->heap_changes != changes || PyList_GET_SIZE(list) != n) {
        return DISTURBED;
    }
    rec->order = AN_HEAP_SETTLED; /* until the next comparison: no Python in between */
    return r;
}

/* Does a go before b? */
static inline int
before(an_loop *rec, PyObject *list, PyObject *a, PyObject *b)
{
    if (AN_LIKELY(plain(a) && plain(b))) {
        double x = PyFloat_AS_DOUBLE(AN_HSLOT(a, when)), y = PyFloat_AS_DOUBLE(AN_HSLOT(b, when));
        return x < y || (x == y && seq_of(a) < seq_of(b));
    }
    return ask(rec, list, a, b);
}

static void
swap(PyObject *list, Py_ssize_t i, Py_ssize_t j)
{
    PyObject *x = PyList_GET_ITEM(list, i);
    PyList_SET_ITEM(list, i, PyList_GET_ITEM(list, j));
    PyList_SET_ITEM(list, j, x);
}

/* NO it is a heap | FAILED | DISTURBED */
static int
sift_up(an_loop *rec, PyObject *list)
{
    Py_ssize_t i = PyList_GET_SIZE(list) - 1;
    while (i > 0) {
        Py_ssize_t parent = (i - 1) >> 1;
        int lt = before(rec, list, PyList_GET_ITEM(list, i), PyList_GET_ITEM(list, parent));
        if (lt != YES) {
            return lt;
        }
        swap(list, i, parent);
        i = parent;
    }
    return NO;
}

/* The same, for the first one. */
static int
sift_down(an_loop *rec, PyObject *list)
{
    Py_ssize_t n = PyList_GET_SIZE(list), i = 0;
    for (;;) {
        Py_ssize_t c = 2 * i + 1;
        if (c >= n) {
            return NO;
        }
        if (c + 1 < n) {
            int lt = before(rec, list, PyList_GET_ITEM(list, c + 1), PyList_GET_ITEM(list, c));
            if (lt != YES && lt != NO) {
                return lt;
            }
            c += lt;
        }
        int lt = before(rec, list, PyList_GET_ITEM(list, c), PyList_GET_ITEM(list, i));
        if (lt != YES) {
            return lt;
        }
        swap(list, i, c);
        i = c;
    }
}

/* ---- in order by the times alone ------------------------------------------------------------ */

int
an_heap_when(PyObject *timer, double *when)
{
    if (AN_LIKELY(an_timer_when(timer, when))) {
        return 0;
    }
    Py_INCREF(timer); /* its property may take it out of the heap */
    PyObject *w = PyObject_GetAttr(timer, an_st->s__when);
    *when = w == NULL ? -1.0 : PyFloat_AsDouble(w);
    Py_XDECREF(w);
    Py_DECREF(timer);
    return *when == -1.0 && PyErr_Occurred() ? -1 : 0;
}

typedef struct {
    double when;
    long long seq;
    PyObject *timer; /* strong */
} entry;

/* 1 the ENTRIES are the list's | 0 it was changed meanwhile | -1+exc */
static int
fill(an_loop *rec, PyObject *list, entry *entries, Py_ssize_t n)
{
    unsigned changes = rec->heap_changes;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *timer = entries[i].timer;
        if (an_heap_when(timer, &entries[i].when) < 0) {
            return -1;
        }
        if (!(entries[i].when <= INFINITY)) { /* a NaN; isnan() converts it to float with mingw */
            entries[i].when = INFINITY;
        }
        entries[i].seq = Py_IS_TYPE(timer, (PyTypeObject *)an_st->type_timer) ? seq_of(timer) : 0;
    }
    if (rec->scheduled != list || rec->heap_changes != changes || PyList_GET_SIZE(list) != n) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        if (PyList_GET_ITEM(list, i) != entries[i].timer) {
            return 0;
        }
    }
    return 1;
}

static inline int
goes_before(const entry *a, const entry *b)
{
    return a->when < b->when || (a->when == b->when && a->seq < b->seq);
}

static void
heapify(entry *entries, Py_ssize_t n)
{
    for (Py_ssize_t start = n / 2; start-- > 0;) {
        entry e = entries[start];
        Py_ssize_t i = start;
        for (Py_ssize_t c = 2 * i + 1; c < n; c = 2 * i + 1) {
            c += c + 1 < n && goes_before(&entries[c + 1], &entries[c]);
            if (!goes_before(&entries[c], &e)) {
                break;
            }
            entries[i] = entries[c];
            i = c;
        }
        entries[i] = e;
    }
}

/* 1 done | 0 the list was changed meanwhile | -1+exc */
static int
mend_once(an_loop *rec)
{
    PyObject *list = Py_NewRef(rec->scheduled);
    Py_ssize_t n = PyList_GET_SIZE(list);
    rec->order = AN_HEAP_UNKNOWN;
    entry *entries = PyMem_Malloc((size_t)n * sizeof(entry) + 1);
    if (entries == NULL) {
        Py_DECREF(list);
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        entries[i].timer = Py_NewRef(PyList_GET_ITEM(list, i));
    }
    int r = fill(rec, list, entries, n);
    if (r > 0) {
        heapify(entries, n);
        for (Py_ssize_t i = 0; i < n; i++) {
            PyList_SET_ITEM(list, i, entries[i].timer); /* the same ones, in another order */
        }
        rec->heap_changes++;
        rec->order = AN_HEAP_SETTLED;
    }
    PyObject *exc = r < 0 ? PyErr_GetRaisedException() : NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_DECREF(entries[i].timer);
    }
    PyMem_Free(entries);
    Py_DECREF(list);
    if (r < 0) {
        rec->order = AN_HEAP_UNKNOWN;
        PyErr_SetRaisedException(exc);
    }
    return r;
}

static AN_NOINLINE int
mend(an_loop *rec)
{
    int r = 0;
    rec->mending++;
    for (int i = 0; r == 0 && i < AN_HEAP_TRIES && rec->mending < AN_HEAP_TRIES; i++) {
        r = mend_once(rec);
    }
    rec->mending--;
    if (r != 0) {
        return r > 0 ? 0 : -1;
    }
    PyErr_SetString(PyExc_RuntimeError, "loop._scheduled changes each time its timers are looked at");
    return -1;
}

/* ---- what others call ------------------------------------------------------------ */

/* After a sift that came to R, in LIST, whose reference is stolen */
static inline int
sifted(an_loop *rec, PyObject *list, int r)
{
    int rc = AN_LIKELY(r == NO) ? 0 : r == DISTURBED ? mend(rec) : -1;
    if (r == NO) {
        rec->order = AN_HEAP_SETTLED;
    }
    Py_DECREF(list);
    return rc;
}

int
an_heap_put_in_order(an_loop *rec)
{
    if (rec->order == AN_HEAP_FIRST_IS_NOT) {
        PyObject *list = Py_NewRef(rec->scheduled);
        return sifted(rec, list, sift_down(rec, list));
    }
    return mend(rec);
}

int
an_heap_push(an_loop *rec, PyObject *timer)
{
    if ((rec->mending == 0 && an_heap_settle(rec) < 0) || PyList_Append(rec->scheduled, timer) < 0) {
        return -1;
    }
    rec->heap_changes++;
    if (rec->order != AN_HEAP_SETTLED) { /* who is about to put it in order begins once more */
        return 0;
    }
    PyObject *list = Py_NewRef(rec->scheduled);
    return sifted(rec, list, sift_up(rec, list));
}

PyObject *
an_heap_take(an_loop *rec)
{
    PyObject *list = rec->scheduled;
    Py_ssize_t n = PyList_GET_SIZE(list);
    PyObject *first = Py_NewRef(PyList_GET_ITEM(list, 0));
    swap(list, 0, n - 1);
    /* the last item is FIRST, which we hold: shrinking runs no finalizer */
    if (PyList_SetSlice(list, n - 1, n, NULL) < 0) {
        swap(list, 0, n - 1);
        Py_DECREF(first);
        return NULL;
    }
    rec->heap_changes++;
    if (n > 2) {
        rec->order = AN_HEAP_FIRST_IS_NOT;
    }
    return first;
}

/* LIST's timers that are cancelled, or are not, into two new lists. 0 | -1+exc */
static int
part(PyObject *list, PyObject *cancelled, PyObject *others)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *h = Py_NewRef(PyList_GET_ITEM(list, i));
        int c = an_handle_cancelled(h);
        if (c >= 0) {
            c = PyList_Append(c ? cancelled : others, h);
        }
        Py_DECREF(h);
        if (c < 0) {
            return -1;
        }
    }
    return 0;
}

int
an_heap_drop_cancelled(an_loop *rec)
{
    PyObject *list = Py_NewRef(rec->scheduled), *cancelled = PyList_New(0), *others = PyList_New(0);
    Py_ssize_t n = PyList_GET_SIZE(list);
    unsigned changes = rec->heap_changes;
    int rc = cancelled == NULL || others == NULL || part(list, cancelled, others) < 0 ? -1 : 0;
    if (rc == 0 && rec->scheduled == list && rec->heap_changes == changes && PyList_GET_SIZE(list) == n) {
        /* (else another turn will do it) */
        rec->scheduled = others;
        others = list;
        rec->heap_changes++;
        rec->order = AN_HEAP_UNKNOWN;
        rec->timer_cancelled_count = 0;
        rc = mend(rec);
        for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(cancelled); i++) {
            rc = PyObject_SetAttrString(PyList_GET_ITEM(cancelled, i), "_scheduled", Py_False);
        }
    }
    PyObject *exc = rc < 0 ? PyErr_GetRaisedException() : NULL;
    Py_XDECREF(list);
    Py_XDECREF(others);
    Py_XDECREF(cancelled);
    if (rc < 0) {
        PyErr_SetRaisedException(exc);
    }
    return rc;
}
