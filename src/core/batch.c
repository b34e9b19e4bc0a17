#include "batch.h"
#include "job.h"

#include <stddef.h>
#include <structmember.h>

vectorcallfunc an_batch_call = NULL;

static an_batch *first_batch = NULL, *last_batch = NULL;

#define FREE_MAX 16
#define RING_MAX 1024 /* a ring that has grown larger is not kept */
static an_batch *free_batches[FREE_MAX];
static int n_free_batches = 0;

PyObject *
an_batch_context(an_loop *rec)
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

/* ---- the loop's queue ------------------------------------------------------------ */

static int
is_last(PyObject *queue, Py_ssize_t n, const void *handle)
{
    PyObject *last = n <= 0 ? NULL : PySequence_GetItem(queue, n - 1);
    if (last == NULL) {
        PyErr_Clear(); /* of an exact deque: no memory for the message */
        return 0;
    }
    Py_DECREF(last); /* the queue has it */
    return last == handle;
}

struct search {
    const void *handle;
    PyObject *found; /* borrowed */
};

static int
look(PyObject *o, void *arg)
{
    struct search *s = arg;
    if (s->found == NULL && Py_IS_TYPE(o, (PyTypeObject *)an_st->o_deque) && is_last(o, PySequence_Size(o), s->handle)) {
        s->found = o;
    }
    return 0;
}

int
an_batch_allowed(an_loop *rec, PyObject *loop)
{
    if (AN_UNLIKELY(rec->batches == AN_BATCHES_UNKNOWN)) {
        PyObject *r = PyObject_CallMethodNoArgs(loop, an_st->s_get_debug);
        int debug = r == NULL ? -1 : PyObject_IsTrue(r);
        Py_XDECREF(r);
        if (debug < 0) {
            return -1;
        }
        rec->batches = debug ? AN_BATCHES_NO : AN_BATCHES_YES;
    }
    return rec->batches == AN_BATCHES_YES;
}

an_batch *
an_batch_open(an_loop *rec)
{
    an_batch *b = rec->batch;
    return b != NULL && PySequence_Size(rec->queue) == b->at && is_last(rec->queue, b->at, b->handle) ? b : NULL;
}

void
an_batch_queued(an_batch *b, PyObject *loop, PyObject *handle)
{
    an_loop *rec = b->rec;
    if (rec->queue == NULL) {
        struct search s = {handle, NULL};
        traverseproc traverse = Py_TYPE(loop)->tp_traverse;
        if (traverse != NULL) {
            (void)traverse(loop, look, &s);
        }
        if (s.found == NULL) {
            rec->batches = AN_BATCHES_NO;
            return;
        }
        rec->queue = Py_NewRef(s.found);
    }
    Py_ssize_t n = PySequence_Size(rec->queue);
    /* another thread may have come between, or the loop, which that one runs, to it */
    if (b->handles.len > 0 && is_last(rec->queue, n, handle)) {
        b->handle = handle;
        b->at = n;
        rec->batch = b;
    }
}

void
an_batch_put_back(an_batch *b, PyObject *loop)
{
    if (b->handles.len == 0) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException(), *r = NULL;
    an_loop *rec = b->rec;
    an_batch *rest = an_batch_new(rec);
    PyObject *context = rest == NULL ? NULL : an_batch_context(rec);
    PyObject *args[3] = {loop, (PyObject *)rest, context};
    if (context != NULL) {
        an_ring handles = rest->handles;
        rest->handles = b->handles;
        b->handles = handles;
        r = PyObject_VectorcallMethod(an_st->s_call_soon, args, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, an_st->kw_context);
    }
    if (r != NULL && rec->queue != NULL && is_last(rec->queue, PySequence_Size(rec->queue), r)) {
        Py_SETREF(r, PyObject_CallMethod(rec->queue, "rotate", "i", 1));
    }
    if (r == NULL) {
        PyErr_WriteUnraisable(loop);
    }
    Py_XDECREF(r);
    Py_XDECREF(context);
    Py_XDECREF(rest);
    PyErr_SetRaisedException(exc);
}

/* ---- batches ------------------------------------------------------------ */

an_batch *
an_batch_new(an_loop *rec)
{
    PyTypeObject *tp = (PyTypeObject *)an_st->type_batch;
    an_batch *b;
    if (n_free_batches > 0) {
        b = free_batches[--n_free_batches];
        PyObject_Init((PyObject *)b, tp);
    }
    else {
        b = PyObject_GC_New(an_batch, tp);
        if (b == NULL) {
            return NULL;
        }
        b->vectorcall = an_batch_call;
        b->handles = (an_ring){0};
    }
    b->rec = (an_loop *)Py_NewRef((PyObject *)rec);
    b->handle = NULL;
    b->at = 0;
    b->number = ++an_job_calls;
    b->since = -1;
    b->before = 0;
    b->prev = last_batch;
    b->next = NULL;
    *(last_batch == NULL ? &first_batch : &last_batch->next) = b;
    last_batch = b;
    PyObject_GC_Track((PyObject *)b);
    return b;
}

int
an_batch_join(an_batch *b, PyObject *h, long long since)
{
    if (b->since != since) {
        b->since = since;
        b->before = b->handles.len;
    }
    an_job_calls++;
    return an_ring_push(&b->handles, h);
}

void
an_batch_close(an_batch *b)
{
    if (b->rec != NULL && b->rec->batch == b) {
        b->rec->batch = NULL;
    }
    if (b->prev != NULL || b->next != NULL || first_batch == b) {
        *(b->prev == NULL ? &first_batch : &b->prev->next) = b->next;
        *(b->next == NULL ? &last_batch : &b->next->prev) = b->prev;
        b->prev = b->next = NULL;
    }
}

int
an_batch_pending(an_loop *rec, long long since, PyObject *list)
{
    int rc = 0;
    an_batch *b = (an_batch *)Py_XNewRef((PyObject *)first_batch);
    while (b != NULL) { /* held: a collection may free any of them */
        size_t i = b->number > since ? 0 : b->since == since ? b->before : b->handles.len;
        for (; rc == 0 && b->rec == rec && i < b->handles.len; i++) {
            PyObject *h = an_ring_at(&b->handles, i), *callback = AN_HSLOT(h, callback), *context = AN_HSLOT(h, context);
            PyObject *one = callback == NULL || context == NULL ? NULL : PyTuple_Pack(2, callback, context);
            rc = one == NULL ? (PyErr_Occurred() ? -1 : 0) : PyList_Append(list, one);
            Py_XDECREF(one);
        }
        Py_SETREF(b, (an_batch *)Py_XNewRef((PyObject *)b->next));
    }
    return rc;
}

static int
batch_traverse(PyObject *self, visitproc visit, void *arg)
{
    an_batch *b = (an_batch *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(b->rec);
    for (size_t i = 0; i < b->handles.len; i++) {
        Py_VISIT(an_ring_at(&b->handles, i));
    }
    return 0;
}

static int
batch_clear(PyObject *self)
{
    an_batch *b = (an_batch *)self;
    an_batch_close(b);
    an_ring_clear(&b->handles);
    Py_CLEAR(b->rec);
    return 0;
}

static void
batch_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    an_batch *b = (an_batch *)self;
    PyObject_GC_UnTrack(self);
    an_batch_close(b);
    PyObject *h;
    while ((h = an_ring_pop(&b->handles)) != NULL) {
        Py_DECREF(h);
    }
    Py_CLEAR(b->rec);
    if (b->handles.cap > RING_MAX) {
        an_ring_clear(&b->handles);
    }
    if (n_free_batches < FREE_MAX) {
        free_batches[n_free_batches++] = b;
    }
    else {
        an_ring_clear(&b->handles);
        PyObject_GC_Del(self);
    }
    Py_DECREF(tp);
}

static PyMemberDef batch_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(an_batch, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot batch_slots[] = {
    {Py_tp_dealloc, batch_dealloc},
    {Py_tp_traverse, batch_traverse},
    {Py_tp_clear, batch_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, batch_members},
    {Py_tp_doc, "Callbacks of a foreign event loop that are called in one go."},
    {0, NULL},
};

static PyType_Spec batch_spec = {
    .name = "aionest._core.ForeignBatch",
    .basicsize = sizeof(an_batch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = batch_slots,
};

int
an_batch_init(void)
{
    an_st->type_batch = PyType_FromSpec(&batch_spec);
    return an_st->type_batch == NULL ? -1 : 0;
}
