#include "signals.h"
#include "err.h"

#include <signal.h>

static PyObject *
keyboard_interrupt(void)
{
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return NULL;
}

static PyObject *
on_sigint(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    an_thread *th = an_thread_peek();
    an_block *b = th == NULL ? NULL : th->last;
    while (b != NULL && (b->state != AN_BLOCK_WAITING || !b->signals)) {
        b = b->prev;
    }
    if (b == NULL) {
        PyObject *before = an_st->sigint_saved;
        if (before == NULL || before == an_st->o_default_int_handler) {
            return keyboard_interrupt();
        }
        Py_INCREF(before);
        PyObject *r = PyObject_Vectorcall(before, args, (size_t)nargs, NULL);
        Py_DECREF(before);
        return r;
    }
    if (b->kind == AN_KIND_RUN) {
        if (b->interrupts++ > 0) {
            return keyboard_interrupt();
        }
        PyObject *future = Py_NewRef(b->future);
        PyObject *r = PyObject_CallMethodNoArgs(future, an_st->s_cancel);
        Py_DECREF(future);
        if (r == NULL) {
            return NULL;
        }
        int cancelled = PyObject_IsTrue(r);
        Py_DECREF(r);
        if (cancelled <= 0) {
            return cancelled < 0 ? NULL : keyboard_interrupt();
        }
        Py_RETURN_NONE;
    }
    if (!th->polling) {
        /* some callback runs: interrupt that, as Python would; what it lets through goes to the newest run (hub.c) */
        th->sigint_raised = 1;
        return keyboard_interrupt();
    }
    PyObject *exc = PyObject_CallNoArgs(PyExc_KeyboardInterrupt);
    if (exc == NULL) {
        return NULL;
    }
    an_block_interrupt(b, exc);
    Py_RETURN_NONE;
}

/* 1 if HANDLER belongs to a top-level run: asyncio.Runner's functools.partial(runner._on_sigint, ...), or that of our own
 * asyncio.run, which says so by an attribute */
static int
is_runners(PyObject *handler)
{
    PyObject *func = NULL, *plain = NULL, *ours = NULL;
    int r = PyObject_HasAttrString(handler, "_aionest_run");
    if (r) {
        return 1;
    }
    if (an_st->o_Runner != NULL && PyObject_GetOptionalAttr(handler, an_st->s_func, &func) > 0) {
        plain = PyMethod_Check(func) ? Py_NewRef(PyMethod_GET_FUNCTION(func)) : NULL;
        ours = PyObject_GetAttr(an_st->o_Runner, an_st->s__on_sigint);
        r = plain != NULL && plain == ours;
    }
    PyErr_Clear();
    Py_XDECREF(func);
    Py_XDECREF(plain);
    Py_XDECREF(ours);
    return r;
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

void
an_signals_enter(an_block *b)
{
    an_state *st = an_st;
    if (!b->th->is_main) {
        return;
    }
    if (st->sigint_depth > 0) {
        st->sigint_depth++;
        b->signals = 1;
        return;
    }
    PyObject *h = get_handler();
    if (h == st->sigint_handler) {
        /* somebody saw ours, and put it back when its time was over */
        Py_SETREF(h, Py_NewRef(st->o_default_int_handler));
    }
    if (h != NULL && (h == st->o_default_int_handler || is_runners(h))) {
        if (set_handler(st->sigint_handler) == 0) {
            Py_XSETREF(st->sigint_saved, Py_NewRef(h));
            st->sigint_depth = 1;
            b->signals = 1;
        }
    }
    Py_XDECREF(h);
    PyErr_Clear(); /* no signals in this interpreter: Ctrl-C stays what it is */
}

static void
give_back(void)
{
    an_state *st = an_st;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *h = get_handler(), *saved = st->sigint_saved;
    st->sigint_saved = NULL;
    if (h == st->sigint_handler && saved != NULL && set_handler(saved) < 0) {
        PyErr_WriteUnraisable(saved);
    }
    Py_XDECREF(h);
    Py_XDECREF(saved);
    PyErr_Clear();
    PyErr_SetRaisedException(exc);
}

void
an_signals_leave(an_block *b)
{
    an_state *st = an_st;
    if (!b->signals) {
        return;
    }
    b->signals = 0;
    if (--st->sigint_depth == 0) {
        give_back();
    }
}

void
an_signals_release(an_thread *th)
{
    if (!th->is_main || an_st->sigint_depth == 0) {
        return;
    }
    for (an_block *b = th->first; b != NULL; b = b->next) {
        b->signals = 0;
    }
    an_st->sigint_depth = 0;
    give_back();
}

static PyMethodDef on_sigint_def = {"_on_sigint", (PyCFunction)(void (*)(void))on_sigint, METH_FASTCALL,
                                    "Ctrl-C: interrupt the newest suspended run."};

int
an_signals_init(PyObject *module)
{
    an_st->sigint_handler = PyCFunction_New(&on_sigint_def, NULL);
    return an_st->sigint_handler == NULL ? -1 : 0;
}
