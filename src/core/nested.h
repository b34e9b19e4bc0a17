/* nested.h - run a new task inside a running loop, and await in the same task, from sync code.   Level 8: suspend.
 *
 * Thread   the loop's, while it runs
 */
#ifndef AN_NESTED_H
#define AN_NESTED_H

#include "suspend.h"

/* Wait for FUTURE and give its result. TRY_IN_PLACE: when a step of FUTURE itself, a task, is all that is ready, it may run
 * right here: the order of everything stays as if this stack had left and come back, and should the step sleep, we could
 * not go on before it anyway. MAY SWITCH */
PyObject *an_nested_wait(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future, an_block_kind kind, int try_in_place);

/* A wait for FUTURE ended with the current exception; INTERRUPTS is what an_suspend() has counted. After Ctrl-C a
 * CancelledError becomes what the synchronous caller expects: KeyboardInterrupt where it is the one who raises that,
 * else aionest._errors.Interrupted, which is both. */
void an_nested_interrupted(an_thread *th, PyObject *future, int interrupts);

/* The current exception comes out of a nested run of LOOP's current task. If that is amid a finalizer, and it is a cancellation
 * of the task's, the task gets it once more: else it would be lost there. Keeps the current exception. Runs Python */
void an_nested_cancelled(PyObject *loop);

/* Python: run_nested(main), block_on(future), wait_nested(future) */
PyObject *an_py_run_nested(PyObject *module, PyObject *main);
PyObject *an_py_block_on(PyObject *module, PyObject *future);
PyObject *an_py_wait_nested(PyObject *module, PyObject *future);

/* Raise NestedRunError: no loop runs in this thread, and WHAT needs one. Runs Python */
void an_nested_no_loop(const char *what);

/* The loop that runs in this thread, with its record; *LOOP is a new reference. 1 | 0 none runs | -1+exc */
int an_nested_loop(PyObject **loop, an_loop **rec);

#endif
