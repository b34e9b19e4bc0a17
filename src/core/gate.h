/* gate.h - a thread waits for one thing that a loop in another thread does.                      Level 5: loop, relay.
 *
 * A gate is a lock that is held when it is made: release() opens it once and for all, as does calling it; acquire()
 * waits for that. run() has a loop in another thread make a task, wakes it up and waits, in one go: the GIL is let go of
 * once for both. Called as the task's done callback, the gate of a thread that waits there among many opens when it is
 * that thread's turn (relay.h).
 *
 * Invariants
 *   A1  open is set before the lock is released, and both once: releasing again does nothing. A thread that finds its gate due
 *       sets open itself, and leaves the lock held
 *   A2  one thread waits at a time; who finds it open does not wait for the lock
 *   A3  relay is set while run() waits, which keeps the loop's record alive meanwhile
 * Owns     the lock
 * Thread   any with the GIL, which is released while waiting. Signals are handled in the waiting thread, also one that comes
 *          between the last look and the wait: it looks again as relay.h says
 */
#ifndef AN_GATE_H
#define AN_GATE_H

#include "loop.h"

int an_gate_init(PyObject *module); /* 0 | -1+exc */

#endif
