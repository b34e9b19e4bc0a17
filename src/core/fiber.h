/* fiber.h - C stacks: everything that aionest asks of greenlet.                                  Level 2: state.
 *
 * The only file that includes greenlet.h (its function table is per translation unit).
 *
 * Owns     nothing; a fiber is a greenlet object, referenced as usual
 * Thread   a fiber belongs to the thread that made it: only that one may switch to it or set its parent
 * Rules    an_fiber_switch may run anything before it returns, or never return: nothing borrowed is valid after it, and
 *          no address of a local may be known to another stack while it is away
 */
#ifndef AN_FIBER_H
#define AN_FIBER_H

#include "state.h"

int an_fiber_init(void); /* 0 | -1+ImportError */

PyObject *an_fiber_current(void);                               /* new ref | NULL+exc */
PyObject *an_fiber_new(PyObject *run, PyObject *parent);        /* new ref | NULL+exc */
/* Go there; 0 when somebody switched back | -1+exc when an exception was thrown in here. MAY SWITCH */
int an_fiber_switch(PyObject *fiber);
int an_fiber_set_parent(PyObject *fiber, PyObject *parent);     /* 0 | -1+exc */
int an_fiber_active(PyObject *fiber);                           /* started and not finished */

#endif
