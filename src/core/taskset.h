/* taskset.h - WeakSet.add for asyncio's set of all tasks, without Python frames.                 Level 2: state, err.
 *
 * Up to 3.13 a C task that is made is put into a weakref.WeakSet by the set's `add`, which is Python, and taken out by a
 * Python closure when it dies: a third of what a task costs. The C task looks `add` up on that one set, so an attribute
 * of the set is enough to do both here, in the set's own containers.
 *
 * Invariants
 *   M1  the set's data, _pending_removals and _iterating are the objects that the WeakSet itself uses: it never binds
 *       these names anew
 *   M2  nothing is taken out while somebody iterates (then _iterating is not empty): it is left pending, as WeakSet does
 * Owns     the function returned owns the WeakSet and its containers; the references in the set own theirs and outlive
 *          unapply()
 * Thread   any with the GIL
 */
#ifndef AN_TASKSET_H
#define AN_TASKSET_H

#include "state.h"

/* Python: task_set_add(weakset): a function that does what weakset.add does. new ref | None: not a WeakSet as expected |
 * NULL+exc */
PyObject *an_py_task_set_add(PyObject *module, PyObject *set);

/* Is it what takes a task that dies out of such a set? */
int an_task_set_is_discard(PyObject *callback);

#endif
