#include "signals.h"
#include "err.h"

#include <signal.h>

static PyObject *
keyboard_interrupt(void)
{
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return NULL;
}

static int n_holding = 0; /* suspended runs of the main thread with b->signals: to look for one would take long among many */

/* The newest run that holds the handler: what was begun in it, in whatever task, is reached by cancellation. */
static an_block *
front(an_thread *th)
{
    an_block *b = th == NULL ? NULL : th->last;
    while (b != NULL && !b->signals) {
        b = b->prev;
    }
    return b;
}

an_block *
an_signals_front(an_thread *th)
{
    return th->sigint_raised ? front(th) : NULL;
}

/* Ask the future of B to cancel. 1 it will | 0 it cannot | -1+exc */
static int
cancel(an_block *b)
{
    PyObject *future = Py_NewRef(b->future);
    PyObject *r = PyObject_CallMethodNoArgs(future, an_st->s_cancel);
    Py_DECREF(future);
    int cancelled = r == NULL ? -1 : PyObject_IsTrue(r);
    Py_XDECREF(r);
    return cancelled;
}

/* B raises KeyboardInterrupt to its caller, as soon as what runs now gives way. Nothing is raised in that: it may be
 * anybody's. */
static PyObject *
interrupt(an_block *b)
{
    PyObject *exc = PyObject_CallNoArgs(PyExc_KeyboardInterrupt);
    if (exc == NULL) {
        return NULL;
    }
    an_run *run = b->th->run;
    PyObject *loop = run == NULL || run->kind == AN_RUN_FOREIGN ? NULL : Py_XNewRef(run->loop), *r = NULL;
    an_block_interrupt(b, exc);
    if (loop != NULL) { /* it may be about to sleep (a foreign one has got a callback) */
        r = PyObject_CallMethodNoArgs(loop, an_st->s__write_to_self);
        Py_DECREF(loop);
        if (r == NULL) {
            return NULL;
        }
        Py_DECREF(r);
    }
    Py_RETURN_NONE;
}

static PyObject *
on_sigint(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    an_thread *th = an_thread_peek();
    an_block *b = front(th);
    if (b != NULL && b->anchor.frame != NULL && an_task_amid_finalizer(b->task, b->anchor.frame)) {
        return keyboard_interrupt(); /* in there it would be lost */
    }
    if (b == NULL || b->exc != NULL) {
        if (b != NULL) {
            th->sigint_raised = 1; /* code that does not give way */
        }
        return keyboard_interrupt();
    }
    if (b->state != AN_BLOCK_WAITING) {
        /* about to go on with its result */
        b->exc = PyObject_CallNoArgs(PyExc_KeyboardInterrupt);
        return b->exc == NULL ? NULL : Py_NewRef(Py_None);
    }
    Py_INCREF(b);
    PyObject *r = NULL;
    int cancelled = 0;
    if (b->kind != AN_KIND_PLAIN && b->future != NULL && b->interrupts++ == 0) {
        an_st->interrupted = 1;
        cancelled = cancel(b);
    }
    if (cancelled > 0) {
        r = Py_NewRef(Py_None);
    }
    else if (cancelled == 0) {
        r = interrupt(b);
    }
    Py_DECREF(b);
    return r;
}

/* 1 if HANDLER belongs to a run: asyncio.Runner's functools.partial(runner._on_sigint, ...), or that of our own
 * asyncio.run, which says so by an attribute */
static int
is_runners(PyObject *handler)
{
    PyObject *func = NULL;
    int r = PyObject_HasAttrString(handler, "_aionest_run");
    if (r) {
        return 1;
    }
    if (an_st->o_Runner != NULL && PyObject_GetOptionalAttr(handler, an_st->s_func, &func) > 0) {
        r = PyMethod_Check(func) ? PyObject_IsInstance(PyMethod_GET_SELF(func), an_st->o_Runner) : 0;
    }
    PyErr_Clear();
    Py_XDECREF(func);
    return r > 0;
}

static PyObject *
get_handler(void)
{
    PyObject *n = PyLong_FromLong(SIGINT);
    PyObject *h = n == NULL ? NULL : PyObject_CallOneArg(an_st->o_getsignal, n);
    Py_XDECREF(n);
    return h;
}

static int
set_handler(PyObject *handler)
{
    PyObject *n = PyLong_FromLong(SIGINT), *r = NULL;
    if (n != NULL) {
        PyObject *args[2] = {n, handler};
        r = PyObject_Vectorcall(an_st->o_signal, args, 2, NULL);
        Py_DECREF(n);
    }
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

int
an_signals_of_runner(void)
{
    PyObject *h = get_handler();
    int r = h != NULL && h != an_st->o_default_int_handler && h != an_st->sigint_handler && is_runners(h);
    Py_XDECREF(h);
    PyErr_Clear();
    return r;
}

void
an_signals_enter(an_block *b)
{
    an_state *st = an_st;
    if (!b->th->is_main || b->th->of_runner) {
        return;
    }
    PyObject *h = get_handler();
    /* ours, but nobody holds it: somebody saw it, and put it back when its time was over */
    int take = h == st->o_default_int_handler || (h == st->sigint_handler && n_holding == 0);
    if (take && (h == st->sigint_handler || set_handler(st->sigint_handler) == 0)) {
        b->signals = 1;
        n_holding++;
    }
    Py_XDECREF(h);
    PyErr_Clear(); /* no signals in this interpreter: Ctrl-C stays what it is */
}

static void
give_back(void)
{
    an_state *st = an_st;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *h = get_handler();
    if (h == st->sigint_handler && set_handler(st->o_default_int_handler) < 0) {
        PyErr_WriteUnraisable(st->sigint_handler);
    }
    Py_XDECREF(h);
    PyErr_Clear();
    PyErr_SetRaisedException(exc);
}

void
an_signals_leave(an_block *b)
{
    if (!b->signals) {
        return;
    }
    b->signals = 0;
    n_holding--;
    an_st->interrupted = 0;
    give_back();
}

void
an_signals_release(an_thread *th)
{
    int held = 0;
    if (!th->is_main) {
        return;
    }
    for (an_block *b = th->first; b != NULL; b = b->next) {
        held |= b->signals;
        b->signals = 0;
    }
    n_holding = 0;
    if (held) {
        an_st->interrupted = 0;
        give_back();
    }
}

static PyMethodDef on_sigint_def = {"_on_sigint", (PyCFunction)(void (*)(void))on_sigint, METH_FASTCALL,
                                    "Ctrl-C: interrupt the suspended run in front."};

int
an_signals_init(PyObject *module)
{
    an_st->sigint_handler = PyCFunction_New(&on_sigint_def, NULL);
    return an_st->sigint_handler == NULL ? -1 : 0;
}
