/* gather.h - the callback of gather()'s children learns of the future that it is to tell.          Level 5: thread, loop.
 *
 * Thread   the loop's
 */
#ifndef AN_GATHER_H
#define AN_GATHER_H

#include "state.h"

/* Python: gather_known(outer, children, loop, code, index). See _engine/for_core.py */
PyObject *an_py_gather_known(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
