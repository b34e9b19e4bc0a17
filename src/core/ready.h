/* ready.h - the queue of a loop, and what others see of it as loop._ready.                       Level 4: loop.
 *
 * To them it has the methods of collections.deque that code is known to use: asyncio's own frames in flight, tests and other
 * libraries. Or it is what somebody has put in its place (L5).
 *
 * Thread   any with the GIL
 */
#ifndef AN_READY_H
#define AN_READY_H

#include "loop.h"

/* the deque that loop._ready is to others */
extern PyMethodDef an_ready_methods[];
PyObject *an_ready_iter(PyObject *self);
PyObject *an_ready_repr(PyObject *self);
PyObject *an_ready_richcompare(PyObject *a, PyObject *b, int op);
Py_ssize_t an_ready_len(PyObject *self);
PyObject *an_ready_item(PyObject *self, Py_ssize_t i);
int an_ready_assign(PyObject *self, Py_ssize_t i, PyObject *o); /* O == NULL deletes: 0 | -1+exc */
int an_ready_contains(PyObject *self, PyObject *o);
int an_ready_extend(an_loop *rec, PyObject *iterable); /* 0 | -1+exc; runs Python */

/* The queue, ours or somebody's own. Runs Python if it is that. */
Py_ssize_t an_loop_n_ready(an_loop *rec);         /* >= 0 | -1+exc */
int an_loop_push(an_loop *rec, PyObject *handle); /* 0 | -1+exc */
PyObject *an_loop_pop(an_loop *rec);              /* new ref | NULL empty | NULL+exc */
int an_loop_own_queue(an_loop *rec);              /* AN_OVR_CALL_SOON if L5 says so, or 0 */
/* VALUE takes the place of loop._ready, or of loop._scheduled. 0 | -1+exc; runs Python */
int an_loop_set_ready(an_loop *rec, PyObject *value);
int an_loop_set_scheduled(an_loop *rec, PyObject *value);

#endif
