/* foreign.h - stacks that foreign greenlets stand on while these sleep in a nested run.           Level 3: fiber.
 *
 * A foreign greenlet that is put to sleep in a nested run leaves the stack of ours that it was started from *stranded*: not
 * in a switch of ours, where what is not meant for it could be passed on (fiber.h, F4), but in one of foreign code, which
 * takes whatever comes for the answer of its own greenlet. Other foreign greenlets may have it for their parent, and end.
 * So while there are stranded stacks, greenlet tells us of each switch (its own settrace()), and a foreign greenlet that
 * gets control below one is moved to the carrier.
 *
 * Invariants
 *   G1  a stack is in `stranded` once for each foreign stack that sleeps on it, but while one is about to sleep or to go on
 *   G2  our tracer is in place while `stranded` is not empty, unless somebody replaced it; a tracer that was there before is
 *       called by ours, and is put back
 * Owns     what it keeps in an_fibers
 * Thread   the stacks' own
 */
#ifndef AN_FOREIGN_H
#define AN_FOREIGN_H

#include "fiber.h"

int an_foreign_init(void); /* 0 | -1+exc */

/* A foreign stack is about to sleep on STACK. 0 | -1+exc. After it comes an_foreign_sleeps(), or an_foreign_return() */
int an_foreign_strand(an_fibers *fs, PyObject *stack);
void an_foreign_sleeps(an_fibers *fs);
/* It is awake: after it comes an_foreign_return() */
void an_foreign_wakes(an_fibers *fs);
/* HUB is about to end in favour of FIBER, a foreign stack over STACK: it must not be above FIBER any more. */
void an_foreign_release(PyObject *fiber, PyObject *stack, PyObject *hub);
/* How often a foreign stack sleeps on one of ours; 0 with our tracer in place: -1; not settled: -2. For check.c */
Py_ssize_t an_foreign_count(an_fibers *fs);
/* SELF, which slept on STACK, goes on, or did not leave. Keeps the current exception. */
void an_foreign_return(an_fibers *fs, PyObject *stack, PyObject *self);

#endif
