/* sched.h - BaseEventLoop's methods that put something in a queue, without a Python frame.        Level 4: loop, handle.
 *
 * Each does what asyncio's does when the loop is open, not in debug mode, and overrides none of the helpers; in every
 * other case, wrong arguments included, asyncio's own function is called, so its checks and messages are its own.
 *
 * Thread   call_soon_threadsafe from any with the GIL; the others as in asyncio
 */
#ifndef AN_SCHED_H
#define AN_SCHED_H

#include "loop.h"

extern PyMethodDef an_sched_call_soon; /* for BaseEventLoop, bound as bound.h does it */
extern PyMethodDef an_sched_methods[]; /* for BaseEventLoop, too */

/* A call_soon() has failed: CALLBACK will not be called. Keeps the exception, does not switch (set by block.c) */
extern void (*an_sched_not_queued)(PyObject *callback);

/* push a handle for CALLBACK(ARG) in CONTEXT. 0 | -1+exc */
int an_sched_soon(an_loop *rec, PyObject *loop, PyObject *callback, PyObject *arg, PyObject *context);

/* asyncio's function F with the very same arguments. new ref | NULL+exc; runs Python */
PyObject *an_sched_stock(PyObject *f, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
