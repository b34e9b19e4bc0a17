/* steps.h - tasks whose step is under way on a stack that sleeps outside of their coroutine.      Level 2: state.
 *
 * What a step does around its coroutine (a loop's own call_soon(), a future's add_done_callback(), a finalizer in there) may
 * nest. By then the task's next step may be queued, and the loop goes on. But the C code of the step that sleeps still has
 * something to write into the task, so the next step has to wait for it, as it does on a loop that is blocked meanwhile.
 *
 * Invariants
 *   P1  while a task is in the list no step of it begins: it is held, and given to the loop again when the task leaves the list
 * Owns     an_step: the task, what is held
 * Thread   the loop's, with the GIL
 */
#ifndef AN_STEPS_H
#define AN_STEPS_H

#include "state.h"

typedef struct an_step an_step;

extern an_step *an_steps_open; /* NULL: there are none, as nearly always */

/* Enter TASK. NULL+exc */
an_step *an_steps_enter(PyObject *task);
/* The stack goes on, or did not leave: what was held is given to LOOP; NULL: it never will, let go. Runs Python. Keeps the
 * current exception. */
void an_steps_leave(an_step *step, PyObject *loop);

/* 1 CALLBACK would have begun a step of a task in the list, and is held | 0 it is to be called. ARGS: n of them. Runs Python */
int an_steps_hold(PyObject *callback, PyObject *const *args, Py_ssize_t n, PyObject *context);

#endif
