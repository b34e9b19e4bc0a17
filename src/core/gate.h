/* gate.h - a thread waits for one thing that a loop in another thread does.                      Level 5: loop.
 *
 * A gate is a lock that is held when it is made: release() opens it once and for all, as does calling it; acquire()
 * waits for that. run() makes a task of a loop in another thread, wakes that up and waits, in one go: the GIL is let go
 * of once for both.
 *
 * Invariants
 *   G1  open is set before the lock is released, and both once: releasing again does nothing
 *   G2  one thread waits at a time; who finds it open does not touch the lock
 * Owns     the lock
 * Thread   any with the GIL, which is released while waiting. Signals are handled in the waiting thread, as by a lock
 */
#ifndef AN_GATE_H
#define AN_GATE_H

#include "loop.h"

int an_gate_init(PyObject *module); /* 0 | -1+exc */

#endif
