/* layout.h - where the C Task of _asyncio keeps two fields that have no setter.                  Level 2: state.
 *
 * task_fut_waiter  the future that the task waits for. With it set, Task.cancel(), asyncio.timeout() and anyio's scopes
 *                  reach the work behind a suspended run natively.
 * task_must_cancel set when the task was cancelled while it waited for nothing; a step honours and clears it.
 *
 * No header tells where they are. _engine/probe.py puts tasks into known states once at import, and the scan here finds the
 * one word and the one bit that answer; both are then verified by the task's own getters. Nothing else in the project
 * touches a Task's memory.
 *
 * Invariant  T1  the waiter field owns its reference, as Task's own code assumes (its step does Py_CLEAR)
 * Thread     with the GIL; none of these runs Python but for the decref in an_layout_clear_waiter
 */
#ifndef AN_LAYOUT_H
#define AN_LAYOUT_H

#include "state.h"

/* scan(waiting_task, future, cancelled_task): METH_FASTCALL; raises ImportError with advice when in doubt */
PyObject *an_layout_probe(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

int an_layout_known(void);

/* TASK must be an instance of _asyncio.Task */
void an_layout_set_waiter(PyObject *task, PyObject *future); /* the field must be empty */
void an_layout_clear_waiter(PyObject *task);                 /* runs Python (decref) */
PyObject *an_layout_waiter(PyObject *task);                  /* borrowed or NULL */
int an_layout_must_cancel(PyObject *task);
void an_layout_clear_must_cancel(PyObject *task);

#endif
