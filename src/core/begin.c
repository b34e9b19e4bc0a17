#include "begin.h"
#include "err.h"
#include "exits.h"
#include "fiber.h"

/* What was raised by a signal's handler or a tracer before the hub began, or for want of memory. 1 the hub shall not begin */
static int
raised_before(an_thread *th)
{
    an_run *run = th->run;
    if (run != NULL && run->kind == AN_RUN_FOREIGN) {
        an_exits_to_foreign(th);
        return 0;
    }
    if (!an_err_is_exit()) {
        an_err_unraisable(PyErr_GetRaisedException(), NULL);
        return 0;
    }
    if (!an_exits_place(th, run)) {
        return 0;
    }
    run->finished = 1;
    return 1;
}

/* Where a hub begins: hub_main inside of two Python frames. */
static PyObject *
hub_start(PyObject *ignored, PyObject *noargs)
{
    an_thread *th = an_thread_get();
    PyObject *self = th == NULL ? NULL : an_fiber_current(), *r = NULL;
    if (self == NULL) {
        return NULL;
    }
    th->place = (an_place){.in_hub = 1};
    if (an_st->h_frames != NULL) {
        r = PyObject_CallOneArg(an_st->h_frames, an_st->hub_main);
    }
    if (!an_fiber_is_over(self)) {
        if (PyErr_Occurred() && raised_before(th)) {
            an_fiber_take(&th->fibers, self);
            an_fiber_set_over(self, NULL); /* our parent is the run's base, and goes on */
        }
        else {
            Py_XSETREF(r, PyObject_CallNoArgs(an_st->hub_main));
        }
    }
    Py_XDECREF(r);
    PyErr_Clear();
    if (th->paused_gc) {
        th->paused_gc = 0;
        PyGC_Enable();
    }
    if (an_fiber_is_over(self)) {
        an_fiber_end(&th->fibers, self);
    }
    Py_DECREF(self);
    Py_RETURN_NONE;
}

static PyMethodDef hub_start_def = {"hub", hub_start, METH_NOARGS, NULL};

int
an_begin_init(PyObject *module)
{
    return (an_st->hub_start = PyCFunction_New(&hub_start_def, NULL)) == NULL ? -1 : 0;
}
