#include "foreign_method.h"
#include "batch.h"
#include "foreign_loop.h"
#include "sched.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *stock;   /* called with the loop first */
    Py_ssize_t index;  /* the callback's place among the arguments, the loop's is 0 */
    int takes_context; /* it has a parameter named so */
    int queues;        /* it is the call_soon() of a loop that calls back in the order of a deque */
} foreign_method;

/* Coroutines and their functions are refused by the loop itself: it has to see them. */
static int
is_to_be_wrapped(PyObject *callback)
{
    if (!PyCallable_Check(callback) || Py_IS_TYPE(callback, (PyTypeObject *)an_st->type_foreign_callback) ||
        Py_IS_TYPE(callback, (PyTypeObject *)an_st->type_batch)) {
        return 0;
    }
    PyObject *f = PyMethod_Check(callback) ? PyMethod_GET_FUNCTION(callback) : callback;
    return !PyFunction_Check(f) || !(((PyCodeObject *)PyFunction_GET_CODE(f))->co_flags & CO_COROUTINE);
}

/* Where a keyword is among the arguments of a vectorcall | -1 */
static Py_ssize_t
find_keyword(PyObject *kwnames, Py_ssize_t nargs, const char *name)
{
    Py_ssize_t n = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), name) == 0) {
            return nargs + i;
        }
    }
    return -1;
}

/* KWNAMES and context. new ref | NULL+exc */
static PyObject *
with_context(PyObject *kwnames)
{
    if (kwnames == NULL || PyTuple_GET_SIZE(kwnames) == 0) {
        return Py_NewRef(an_st->kw_context);
    }
    Py_ssize_t n = PyTuple_GET_SIZE(kwnames);
    PyObject *all = PyTuple_New(n + 1);
    for (Py_ssize_t i = 0; all != NULL && i < n; i++) {
        PyTuple_SET_ITEM(all, i, Py_NewRef(PyTuple_GET_ITEM(kwnames, i)));
    }
    if (all != NULL) {
        PyTuple_SET_ITEM(all, n, Py_NewRef(an_st->s_context));
    }
    return all;
}

/* Call the stock method with the callback at AT wrapped. ALL has room for one more. */
static PyObject *
call_wrapped(foreign_method *m, PyObject **all, Py_ssize_t n, PyObject *kwnames, Py_ssize_t at)
{
    PyObject *context = NULL, *calling = NULL, *names = Py_XNewRef(kwnames), *callback = NULL, *r = NULL;
    an_loop *rec = NULL;
    if (m->takes_context) {
        Py_ssize_t where = find_keyword(kwnames, n, "context");
        PyObject *given = where < 0 ? Py_None : all[where];
        context = given == Py_None ? an_copy_context() : Py_NewRef(given);
        if (context == NULL || (rec = an_loop_get(all[0])) == NULL || (calling = an_batch_context(rec)) == NULL) {
            goto done;
        }
        if (!PyContext_CheckExact(context)) { /* the loop itself shall refuse it */
            r = PyObject_Vectorcall(m->stock, all, (size_t)n, kwnames);
            goto done;
        }
        if (where < 0) {
            where = n + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
            Py_XSETREF(names, with_context(kwnames));
            if (names == NULL) {
                goto done;
            }
        }
        all[where] = calling;
    }
    if ((callback = an_foreign_callback_new(all[at], context, rec, m->index == 1)) != NULL) {
        all[at] = callback;
        r = PyObject_Vectorcall(m->stock, all, (size_t)n, names);
    }
done:
    Py_XDECREF(context);
    Py_XDECREF(calling);
    Py_XDECREF(names);
    Py_XDECREF(callback);
    return r;
}

/* Give LOOP a new batch, with handle H in it. 0 | -1+exc. Runs Python */
static int
queue_batch(foreign_method *m, an_loop *rec, PyObject *loop, PyObject *h, long long since)
{
    PyObject *calling = an_batch_context(rec), *r = NULL;
    an_batch *b = calling == NULL ? NULL : an_batch_new(rec);
    if (b != NULL && an_batch_join(b, h, since) == 0) {
        PyObject *all[3] = {loop, (PyObject *)b, calling};
        r = PyObject_Vectorcall(m->stock, all, 2, an_st->kw_context);
        if (r != NULL) {
            an_batch_queued(b, loop, r);
            Py_DECREF(r);
        }
    }
    Py_XDECREF(calling);
    Py_XDECREF(b);
    return r == NULL ? -1 : 0;
}

/* Have CALLBACK join the open batch, or a new one. *DONE: 0 it is no case for a batch. new ref | NULL, +exc if done */
static PyObject *
queue(foreign_method *m, PyObject *const *args, Py_ssize_t n, PyObject *kwnames, int *done)
{
    PyObject *loop = args[0], *callback = args[1], *context = NULL;
    *done = 0;
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) > 0) {
        context = args[n];
        if (PyTuple_GET_SIZE(kwnames) != 1 || find_keyword(kwnames, n, "context") < 0 ||
            (context != Py_None && !PyContext_CheckExact(context))) {
            return NULL;
        }
    }
    an_loop *rec = an_loop_get(loop);
    an_thread *th = rec == NULL ? NULL : an_thread_get();
    int allowed = th == NULL ? -1 : an_batch_allowed(rec, loop);
    if (allowed <= 0) {
        *done = allowed < 0;
        return NULL;
    }
    *done = 1;
    PyObject *h = an_handle_new(loop, callback, args + 2, n - 2, context);
    if (h == NULL) {
        return NULL;
    }
    an_batch *b = an_batch_open(rec); /* U4 */
    int rc = b == NULL ? queue_batch(m, rec, loop, h, th->job.since) : an_batch_join(b, h, th->job.since);
    if (rc < 0) {
        Py_CLEAR(h);
    }
    return h;
}

static PyObject *
method_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    foreign_method *m = (foreign_method *)self;
    Py_ssize_t n = PyVectorcall_NARGS(nargsf), kw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    Py_ssize_t at = n > m->index ? m->index : find_keyword(kwnames, n, "callback");
    if (at < 0 || n < 1 || !is_to_be_wrapped(args[at])) {
        return PyObject_Vectorcall(m->stock, args, (size_t)n, kwnames);
    }
    if (m->queues && at == 1 && n >= 2) {
        int done;
        PyObject *h = queue(m, args, n, kwnames, &done);
        if (AN_UNLIKELY(done && h == NULL)) {
            an_sched_not_queued(args[at]);
        }
        if (done) {
            return h;
        }
    }
    PyObject *small[8], **all = n + kw < 8 ? small : PyMem_New(PyObject *, (size_t)(n + kw + 1));
    if (all == NULL) {
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < n + kw; i++) {
        all[i] = args[i];
    }
    PyObject *r = call_wrapped(m, all, n, kwnames, at);
    if (all != small) {
        PyMem_Free(all);
    }
    if (AN_UNLIKELY(r == NULL)) {
        an_sched_not_queued(args[at]);
    }
    return r;
}

static int
method_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((foreign_method *)self)->stock);
    return 0;
}

static int
method_clear(PyObject *self)
{
    Py_CLEAR(((foreign_method *)self)->stock);
    return 0;
}

static void
method_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)method_clear(self);
    tp->tp_free(self);
    Py_DECREF(tp);
}

static PyObject *
method_bind(PyObject *self, PyObject *loop, PyObject *type)
{
    return loop == NULL || loop == Py_None ? Py_NewRef(self) : PyMethod_New(self, loop);
}

static PyObject *
method_getattro(PyObject *self, PyObject *name)
{
    PyObject *v = PyObject_GenericGetAttr(self, name);
    if (v == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        v = PyObject_GetAttr(((foreign_method *)self)->stock, name);
    }
    return v;
}

static PyMemberDef method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(foreign_method, vectorcall), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(foreign_method, stock), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_dealloc, method_dealloc}, {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},     {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, method_bind},  {Py_tp_getattro, method_getattro},
    {Py_tp_members, method_members}, {0, NULL},
};

static PyType_Spec method_spec = {
    .name = "aionest._core.ForeignMethod",
    .basicsize = sizeof(foreign_method),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = method_slots,
};

PyObject *
an_py_foreign_method(PyObject *module, PyObject *args)
{
    PyObject *stock;
    Py_ssize_t index;
    int takes_context, queues;
    if (!PyArg_ParseTuple(args, "Onpp:foreign_method", &stock, &index, &takes_context, &queues)) {
        return NULL;
    }
    PyTypeObject *tp = (PyTypeObject *)an_st->type_foreign_method;
    foreign_method *m = (foreign_method *)tp->tp_alloc(tp, 0);
    if (m != NULL) {
        m->vectorcall = method_call;
        m->stock = Py_NewRef(stock);
        m->index = index;
        m->takes_context = takes_context;
        m->queues = takes_context && queues;
    }
    return (PyObject *)m;
}

/* Debug mode was switched on or off: from the next callback on they are batched, or not. */
PyObject *
an_py_foreign_look_again(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_get(loop);
    if (rec == NULL) {
        return NULL;
    }
    rec->batches = AN_BATCHES_UNKNOWN;
    Py_RETURN_NONE;
}

int
an_foreign_method_init(PyObject *module)
{
    an_st->type_foreign_method = PyType_FromSpec(&method_spec);
    return an_st->type_foreign_method == NULL ? -1 : 0;
}
