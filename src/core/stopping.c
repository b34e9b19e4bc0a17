#include "stopping.h"

const char an_stopping_message[] = "Event loop stopped before Future completed.";

int
an_stopping_nested(an_loop *rec)
{
    if (rec->stop_waiters == NULL) {
        return 0;
    }
    Py_ssize_t n = PyList_GET_SIZE(rec->stop_waiters);
    if (n == 0) {
        return 0;
    }
    PyObject *fut = Py_NewRef(PyList_GET_ITEM(rec->stop_waiters, n - 1));
    rec->stopping = AN_STOP_NO;
    if (PyList_SetSlice(rec->stop_waiters, n - 1, n, NULL) < 0) {
        Py_DECREF(fut);
        return -1;
    }
    PyObject *done = PyObject_CallMethodNoArgs(fut, an_st->s_done), *r = NULL;
    if (done == Py_False) {
        r = PyObject_CallMethod(fut, "set_result", "O", Py_None);
    }
    else if (done != NULL) {
        r = Py_NewRef(Py_None);
    }
    Py_XDECREF(done);
    Py_DECREF(fut);
    if (r == NULL) {
        return -1;
    }
    Py_DECREF(r);
    return 1;
}

int
an_stopping_suspended(an_thread *th, an_run *run)
{
    an_loop *rec = run->rec;
    if (run->kind == AN_RUN_ADOPTED) {
        an_block *b = an_block_of_base(th);
        if (b == NULL && rec->stopping == AN_STOP_USER) {
            b = an_block_newest(th, rec);
        }
        if (b == NULL) {
            return 0;
        }
        an_block_end(b, an_stopping_message);
        return 1;
    }
    if (rec->stopping != AN_STOP_USER) {
        return 0;
    }
    an_block *b = an_block_newest(th, rec);
    if (b == NULL) {
        return 0;
    }
    rec->ending = 1;
    an_block_end(b, an_stopping_message);
    return 1;
}
