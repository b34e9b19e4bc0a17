/* check.h - do the invariants hold that the other headers number?                                Level 7: hub, loop, block.
 *
 * For tests: walks the records of this thread and of all loops and raises AssertionError with the number of the first that
 * does not hold. Changes nothing, runs no Python but for making the error.
 *
 * Thread   any, with the GIL; looks at its own thread's record only
 */
#ifndef AN_CHECK_H
#define AN_CHECK_H

#include "hub.h"

PyObject *an_py_check(PyObject *module, PyObject *noargs); /* None | NULL+exc */

#endif
