/* foreign_method.h - the methods of a foreign loop that take a callback.                        Level 8: foreign_loop, batch.
 *
 * Each stands for one of the loop's class, and hands on what it is given with a wrapper in the callback's place; or, where the
 * loop's queue can be found (call_soon() of uvloop), with a batch that more callbacks may join.
 *
 * Owns     a method: the one that it stands for
 * Thread   any (call_soon_threadsafe)
 */
#ifndef AN_FOREIGN_METHOD_H
#define AN_FOREIGN_METHOD_H

#include "state.h"

int an_foreign_method_init(PyObject *module); /* 0 | -1+exc */

/* Python: foreign_method(stock, index, takes_context, queues), foreign_look_again(loop) */
PyObject *an_py_foreign_method(PyObject *module, PyObject *args);
PyObject *an_py_foreign_look_again(PyObject *module, PyObject *loop);

#endif
