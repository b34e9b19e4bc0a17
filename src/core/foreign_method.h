/* foreign_method.h - the methods of a foreign loop's class that take a callback: they wrap it.        Level 8: foreign_loop.
 *
 * One object stands in the class in the place of call_soon, call_later, add_reader and their like, and calls the loop's own
 * method with the wrapper (foreign_loop.h) instead of the callback. What the loop would refuse itself - a coroutine, what
 * cannot be called, a context that is none - it is given as it is. It calls wrappers in an empty context of its own (X3).
 *
 * Owns     the method that it stands for
 * Thread   any with the GIL (call_soon_threadsafe)
 */
#ifndef AN_FOREIGN_METHOD_H
#define AN_FOREIGN_METHOD_H

#include "foreign_loop.h"

int an_foreign_method_init(PyObject *module);

/* Python: foreign_method(stock, index, takes_context) */
PyObject *an_py_foreign_method(PyObject *module, PyObject *args);

#endif
