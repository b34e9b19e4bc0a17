/* harmless.h - callbacks of a foreign loop that cannot nest, so need no hub.                      Level 4: handle, taskset.
 *
 * Two switches of stacks for a callback are worth while where it may nest. `tasks.discard` as a task's done callback is C code
 * that runs no Python: asyncio's documentation has it, and so has each request of a web server. What may run Python is what
 * dies with it: the handle, the task, its result, contexts. So it is looked up beforehand what would die.
 *
 * Invariants
 *   O1  what is said to be harmless runs no code but C code that is known here, up to the release of the handle: whatever
 *       would die with it is of a type whose end runs nothing, and nobody is told of that (weak references with callbacks).
 *       (An object in the set whose hash is the very one of the task has its __eq__ called all the same)
 *   O2  an object dies if as many references are found in what dies as it has; what is found in none survives
 * Owns     nothing
 * Thread   the loop's
 */
#ifndef AN_HARMLESS_H
#define AN_HARMLESS_H

#include "handle.h"

int an_harmless_init(void); /* 0 | -1+exc */

/* May HANDLE, which only the caller has, run on a stack that must not sleep, and be released there? 1 | 0. Runs no Python */
int an_harmless(PyObject *handle);

#endif
