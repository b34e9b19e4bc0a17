#include "exits.h"
#include "err.h"
#include "job.h"
#include "signals.h"

static int
has_result(PyObject *future, PyObject *exc)
{
    PyObject *v;
    if (PyObject_GetOptionalAttr(future, an_st->s__exception, &v) <= 0) {
        PyErr_Clear();
        return 0;
    }
    int r = v == exc;
    Py_DECREF(v);
    return r;
}

static int
is_exit(PyObject *exc)
{
    return PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt) || PyErr_GivenExceptionMatches(exc, PyExc_SystemExit);
}

static void
mark_raised(an_loop *rec, PyObject *exc)
{
    static long long n = 0;
    if (!is_exit(exc)) {
        return;
    }
    if (rec->raised_id == 0) {
        rec->raised_id = ++n;
    }
    PyObject *id = PyLong_FromLongLong(rec->raised_id);
    if (id == NULL || PyObject_SetAttr(exc, an_st->s__aionest_raised, id) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(id);
}

/* EXC leaves the run of REC's (may be NULL): E1, E2 */
static void
leaves(an_thread *th, an_loop *rec, PyObject *exc)
{
    if (rec == NULL) {
        return;
    }
    mark_raised(rec, exc);
    for (an_block *b = th->first; b != NULL && is_exit(exc); b = b->next) {
        b->left |= b->rec == rec;
    }
}

void
an_exits_mark(an_thread *th, an_loop *rec)
{
    PyObject *exc = PyErr_GetRaisedException();
    leaves(th, rec, exc);
    PyErr_SetRaisedException(exc);
}

static int
was_raised(an_loop *rec, PyObject *exc)
{
    PyObject *id = NULL;
    if (rec == NULL || rec->raised_id == 0) {
        return 0;
    }
    int r = PyObject_GetOptionalAttr(exc, an_st->s__aionest_raised, &id) > 0 && PyLong_Check(id) &&
            PyLong_AsLongLong(id) == rec->raised_id;
    PyErr_Clear();
    Py_XDECREF(id);
    return r;
}

int
an_exits_has_place(an_thread *th, an_loop *rec)
{
    PyObject *exc = PyErr_GetRaisedException();
    int found = an_err_is_interrupted(exc) || was_raised(rec, exc);
    an_block *b = (an_block *)Py_XNewRef((PyObject *)th->first);
    while (b != NULL) {
        found = found || (b->future != NULL && has_result(b->future, exc));
        /* a future of somebody's own runs Python: if this run is over now it leads nowhere */
        Py_SETREF(b, (an_block *)Py_XNewRef(found ? NULL : (PyObject *)b->next));
    }
    if (found) {
        Py_DECREF(exc);
    }
    else {
        PyErr_SetRaisedException(exc);
    }
    return found;
}

int
an_exits_place(an_thread *th, an_run *run)
{
    if (an_exits_has_place(th, run == NULL ? NULL : run->rec)) {
        th->sigint_raised = 0;
        return 0;
    }
    PyObject *exc = PyErr_GetRaisedException();
    an_block *b = (an_block *)Py_XNewRef((PyObject *)an_signals_front(th));
    th->sigint_raised = 0;
    if (b != NULL && PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt)) {
        /* the front raises its own; who awaits the task that keeps this one must not raise it anew */
        if (run != NULL && run->rec != NULL) {
            mark_raised(run->rec, exc);
        }
        Py_DECREF(exc);
        Py_DECREF(b);
        return 0;
    }
    if (run != NULL && run->kind != AN_RUN_ADOPTED) {
        leaves(th, run->rec, exc);
        Py_XSETREF(run->exc, exc);
        Py_XDECREF(b);
        return 1;
    }
    Py_XSETREF(b, (an_block *)Py_XNewRef((PyObject *)an_block_of_base(th)));
    if (b != NULL) {
        an_block_interrupt(b, exc);
    }
    else {
        an_err_unraisable(exc, run == NULL ? NULL : run->loop);
    }
    Py_XDECREF(b);
    return 0;
}

void
an_exits_to_foreign(an_thread *th)
{
    an_run *run = th->run;
    if (run != NULL && run->kind == AN_RUN_DRAINING) { /* no loop calls back that could raise it */
        if (an_err_is_exit()) {
            (void)an_exits_place(th, run);
        }
        else {
            an_err_unraisable(PyErr_GetRaisedException(), NULL);
        }
        return;
    }
    if (run != NULL && run->kind == AN_RUN_FOREIGN && an_err_is_exit()) {
        if (!an_exits_place(th, run)) {
            return;
        }
        PyObject *exc = run->exc;
        run->exc = NULL;
        PyErr_SetRaisedException(exc);
    }
    an_job_fail(th);
}
