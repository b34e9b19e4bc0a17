/* err.h - raising with advice, and the classes that the Python side defines.                     Level 1: state.
 *
 * Thread   any, with the GIL. All of these may run Python (formatting), none switches.
 */
#ifndef AN_ERR_H
#define AN_ERR_H

#include "state.h"

/* Raise aionest._errors.NAME (or RuntimeError before the Python side has configured the module). Returns NULL. */
PyObject *an_err(const char *name, const char *format, ...);

/* Raise ForeignLoopError: code cannot be suspended on LOOP, since WHY; and what to do about it. Returns NULL. */
PyObject *an_err_foreign_loop(PyObject *loop, const char *why);

/* Raise NestedRunError: the stack that LOOP, a foreign one, runs on cannot be left. LATE: nothing of it was seen to begin, so
 * apply() may have come in the midst of it. Returns NULL. */
PyObject *an_err_own_stack(PyObject *loop, int late);

/* Give EXC (stolen) to sys.unraisablehook, WHERE is borrowed and may be NULL. */
void an_err_unraisable(PyObject *exc, PyObject *where);

/* Close CORO if it is a coroutine that was never started, so that a refused call leaves no warning behind.
 * The current exception stays set. */
void an_err_close_coro(PyObject *coro);

/* What comes between the two is called as in an except block for EXC, which sys.exc_info() gives. */
typedef struct {
    PyObject *type, *value, *traceback;
} an_err_before;
void an_err_handle(PyObject *exc, an_err_before *before);
void an_err_handled(an_err_before *before);

/* True if the current exception is KeyboardInterrupt or SystemExit. */
int an_err_is_exit(void);

/* True if EXC is the CancelledError that a nested run raises after Ctrl-C. */
int an_err_is_interrupted(PyObject *exc);

#endif
