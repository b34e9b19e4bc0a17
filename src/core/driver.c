#include "driver.h"
#include "err.h"

/* 1 if LOOP has a run_forever of its own, 0 if not, -1+exc */
static int
own_run_forever(PyObject *loop)
{
    PyObject *mine, *base;
    if (PyObject_GetOptionalAttr((PyObject *)Py_TYPE(loop), an_st->s_run_forever, &mine) <= 0) {
        return PyErr_Occurred() ? -1 : 1;
    }
    if (PyObject_GetOptionalAttr(an_st->o_BaseEventLoop, an_st->s_run_forever, &base) <= 0) {
        Py_DECREF(mine);
        return PyErr_Occurred() ? -1 : 1;
    }
    int r = mine != base;
    Py_DECREF(mine);
    Py_DECREF(base);
    return r;
}

int
an_driver_check(an_loop *rec, PyObject *loop)
{
    if (rec->foreign || rec->carried || rec->guest != NULL || rec->iterating > 0) {
        return 0;
    }
    int own = own_run_forever(loop);
    if (own <= 0) {
        return own;
    }
    /* it may call asyncio's, which was under way when we came: only the frames can tell */
    PyObject *r = PyObject_CallOneArg(an_st->h_runs_in_asyncio, loop);
    int yes = r == NULL ? -1 : PyObject_IsTrue(r);
    Py_XDECREF(r);
    if (yes == 0) {
        an_err_foreign_loop(loop, "its class has its own way of running it, and nothing else can run it while a caller sleeps");
    }
    return yes > 0 ? 0 : -1;
}
