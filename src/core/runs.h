/* runs.h - the runs of a thread, from outermost to innermost.                                       Level 5: block.
 *
 * Thread   its own
 */
#ifndef AN_RUNS_H
#define AN_RUNS_H

#include "block.h"

/* LOOP and REC are NULL where it drains; BASE is NULL where it is adopted. Wakes runs that missed their wake-up. NULL+exc */
an_run *an_run_push(an_thread *th, an_run_kind kind, PyObject *loop, an_loop *rec, PyObject *base);
/* Gives the run's exception to the caller (new ref or NULL). Runs Python. */
PyObject *an_run_pop(an_thread *th, an_run *run);

#endif
