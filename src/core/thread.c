#include "thread.h"
#include "err.h"

#include <pythread.h>

/* Borrowed: the thread state's dict owns the record, and its end clears this. */
static AN_TLS an_thread *current = NULL;

void (*an_thread_at_end)(an_thread *th) = NULL;

static int
thread_traverse(PyObject *self, visitproc visit, void *arg)
{
    an_thread *th = (an_thread *)self;
    Py_VISIT(Py_TYPE(self));
    for (size_t i = 0; i < th->idle.len; i++) {
        Py_VISIT(an_ring_at(&th->idle, i));
    }
    for (size_t i = 0; i < th->pending.len; i++) {
        Py_VISIT(an_ring_at(&th->pending, i));
    }
    Py_VISIT(th->idle_base);
    Py_VISIT(th->tramp);
    Py_VISIT(th->corpse);
    Py_VISIT(th->below_corpse);
    Py_VISIT(th->fibers.carrier);
    Py_VISIT(th->fibers.stranded);
    Py_VISIT(th->fibers.tracer_before);
    Py_VISIT(th->fibers.passed);
    Py_VISIT(th->job.callback);
    Py_VISIT(th->job.args);
    Py_VISIT(th->job.context);
    Py_VISIT(th->job.error);
    Py_VISIT(th->job.result);
    Py_VISIT(th->context);
    return 0;
}

static int
thread_clear(PyObject *self)
{
    an_thread *th = (an_thread *)self;
    Py_CLEAR(th->fibers.carrier); /* first: what is thrown into a stack that is let go of is meant for that one */
    an_ring_clear(&th->pending);
    an_ring_clear(&th->idle);
    Py_CLEAR(th->idle_base);
    Py_CLEAR(th->tramp);
    Py_CLEAR(th->corpse);
    Py_CLEAR(th->below_corpse);
    Py_CLEAR(th->fibers.stranded);
    Py_CLEAR(th->fibers.tracer_before);
    Py_CLEAR(th->fibers.passed);
    Py_CLEAR(th->job.callback);
    Py_CLEAR(th->job.args);
    Py_CLEAR(th->job.kwnames);
    Py_CLEAR(th->job.context);
    Py_CLEAR(th->job.error);
    Py_CLEAR(th->job.result);
    Py_CLEAR(th->context);
    return 0;
}

static void
thread_finalize(PyObject *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (an_thread_at_end != NULL) {
        an_thread_at_end((an_thread *)self);
    }
    PyErr_SetRaisedException(exc);
}

static void
thread_dealloc(PyObject *self)
{
    PyTypeObject *tp = Py_TYPE(self);
    if (PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (current == (an_thread *)self) {
        current = NULL;
        an_fiber_bind(NULL);
    }
    (void)thread_clear(self);
    an_st->n_threads--;
    tp->tp_free(self);
    Py_DECREF(tp);
}

an_thread *
an_thread_peek(void)
{
    return current;
}

/* 1 this is the main thread | 0 it is another one | -1+exc; runs Python */
static int
is_main(void)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *main_thread = threading == NULL ? NULL : PyObject_CallMethod(threading, "main_thread", NULL);
    PyObject *ident = main_thread == NULL ? NULL : PyObject_GetAttrString(main_thread, "ident");
    Py_XDECREF(threading);
    Py_XDECREF(main_thread);
    if (ident == NULL) {
        return -1;
    }
    int r = PyLong_Check(ident) && PyLong_AsUnsignedLong(ident) == PyThread_get_thread_ident();
    Py_DECREF(ident);
    PyErr_Clear();
    return r;
}

static AN_NOINLINE an_thread *
make(void)
{
    PyTypeObject *tp = (PyTypeObject *)an_st->type_thread;
    PyObject *dict = PyThreadState_GetDict();
    if (dict == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this thread no longer has a Python thread state");
        return NULL;
    }
    int main = is_main();
    an_thread *th = main < 0 ? NULL : (an_thread *)tp->tp_alloc(tp, 0);
    if (th == NULL) {
        return NULL;
    }
    an_st->n_threads++;
    th->is_main = main;
    if ((th->context = PyContext_New()) == NULL) {
        Py_DECREF(th);
        return NULL;
    }
    if (AN_UNLIKELY(current != NULL)) { /* garbage has nested amid this, and needed one */
        Py_DECREF(th);
        return current;
    }
    if (PyDict_SetItem(dict, an_st->s__aionest, (PyObject *)th) < 0) {
        Py_DECREF(th);
        return NULL;
    }
    current = th;
    an_fiber_bind(&th->fibers);
    Py_DECREF(th);
    return th;
}

an_thread *
an_thread_get(void)
{
    return AN_LIKELY(current != NULL) ? current : make();
}

long long
an_thread_slept_ns(void)
{
    return current == NULL ? 0 : current->slept_ns;
}

static PyType_Slot thread_slots[] = {
    {Py_tp_dealloc, thread_dealloc},
    {Py_tp_traverse, thread_traverse},
    {Py_tp_clear, thread_clear},
    {Py_tp_finalize, thread_finalize},
    {0, NULL},
};

static PyType_Spec thread_spec = {
    .name = "aionest._core.ThreadRecord",
    .basicsize = sizeof(an_thread),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = thread_slots,
};

int
an_thread_init(PyObject *module)
{
    an_st->type_thread = PyType_FromSpec(&thread_spec);
    return an_st->type_thread == NULL ? -1 : 0;
}
