/* drive.c - await_: drive an awaitable in the caller's own task.                                 Level 8: nested.
 *
 * What asyncio's Task does with what a coroutine yields, with one difference: where a Task returns to the loop and is
 * called again, this puts the stack to sleep and goes on.
 *
 * Thread   the loop's, while it runs
 */
#ifndef AN_DRIVE_H
#define AN_DRIVE_H

#include "compat.h"

/* Python: await_(awaitable) */
PyObject *an_py_await(PyObject *module, PyObject *awaitable);

#endif
