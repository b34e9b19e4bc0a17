#include "runs.h"

an_run *
an_run_push(an_thread *th, an_run_kind kind, PyObject *loop, an_loop *rec, PyObject *base)
{
    an_run *run = PyMem_Calloc(1, sizeof(an_run));
    if (run == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    run->kind = kind;
    run->loop = Py_XNewRef(loop);
    run->rec = (an_loop *)Py_XNewRef((PyObject *)rec);
    run->base = Py_XNewRef(base);
    run->prev = th->run;
    run->first_block = th->seq;
    if (base != NULL || kind == AN_RUN_FOREIGN) {
        an_anchor_set(&run->anchor);
        run->ground = &run->anchor;
    }
    th->moved = 1;
    th->run = run;
    if (rec != NULL) {
        rec->carried++;
        if (AN_UNLIKELY(rec->n_blocks > 0)) {
            an_block_wake_missed(th, rec);
        }
    }
    return run;
}

PyObject *
an_run_pop(an_thread *th, an_run *run)
{
    for (an_run **p = &th->run; *p != NULL; p = &(*p)->prev) {
        if (*p == run) {
            *p = run->prev;
            break;
        }
    }
    if (run->rec != NULL) {
        if (--run->rec->carried == 0) {
            an_relay_flush(&run->rec->relay);
        }
    }
    th->moved = 1;
    an_anchor_drop(&run->anchor, NULL); /* stacks that still sleep end at their own base */
    an_run old = *run;
    PyMem_Free(run);
    Py_XDECREF(old.loop);
    Py_XDECREF(old.rec);
    Py_XDECREF(old.base);
    Py_XDECREF(old.on_begin);
    return old.exc;
}
