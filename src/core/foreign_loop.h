/* foreign_loop.h - loops whose run_forever is not ours: uvloop, Qt's, anybody's.                      Level 7: hub, job.
 *
 * Such a loop cannot be carried by a hub, and its own stack must never sleep: nothing else could run it meanwhile. So the
 * methods of its class that take a callback (call_soon and its like, through which every step of every task comes) get a
 * wrapper for it. When the loop calls that, the callback runs on a hub; a nested run suspends the hub's stack by going back
 * to the loop's own, as if the callback had returned. The wake-up of a nested run is itself such a callback: it switches to
 * the sleeping stack. The loop is never entered twice, and the order of callbacks is its own.
 *
 *      loop's own stack     loop -> wrapper -> switch ... back -> wrapper returns -> loop
 *      hub                            callback | nested run: leave to the loop's own stack
 *
 * Invariants
 *   X1  in a foreign run, th->idle_base is the loop's own stack while a hub runs one of its callbacks
 *   X2  a hub of a foreign run never polls: it takes the job, wakes what is ready, and goes back to idle_base
 *   X3  the loop calls wrappers in an empty context of its own, which is left while a hub runs the callback in the context
 *       that it was given with
 *   X4  every wrapper is linked from its making to its end, in that order
 *   X5  a stack on which a callback of such a loop is under way runs only while that loop's run is the newest (B4): what comes
 *       next on it goes back to idle_base, and its code asks which loop runs, and which task
 *   X6  what a foreign loop has on its C stack while it calls back stays there: libuv has lists of timers and of events in its
 *       frames, which its functions change when a callback cancels a timer or closes a descriptor. greenlet copies what of the
 *       stack that it leaves lies where the other one begins, and puts it back as it was. So a hub that takes a job begins
 *       deeper than the frame that calls back; all hubs of a run begin in about the same place (run->deepest), or else each
 *       turn of a guest's loop would stand deeper than the one before
 *   X7  what slept before may begin anywhere: it goes on only in a callback from the loop's queue, amid which the loop has no
 *       such thing on its stack. What is ready amid another one (run->amid) waits for such a callback
 * Owns     a wrapper: the callback
 * Thread   making them: any. Calling: the loop's; called anywhere else they are the callback
 */
#ifndef AN_FOREIGN_LOOP_H
#define AN_FOREIGN_LOOP_H

#include "hub.h"
#include "job.h"

int an_foreign_loop_init(PyObject *module);

/* A wrapper. QUEUED: it is called from the loop's queue. new ref | NULL+exc */
PyObject *an_foreign_callback_new(PyObject *callback, PyObject *context, const void *rec, int queued);

/* Python: foreign_callback(callback),
 * foreign_pending(loop), foreign_begin(loop, on_begin), foreign_end(loop, before) */
PyObject *an_py_foreign_callback(PyObject *module, PyObject *callback);
PyObject *an_py_foreign_pending(PyObject *module, PyObject *loop);
PyObject *an_py_foreign_begin(PyObject *module, PyObject *args);
PyObject *an_py_foreign_end(PyObject *module, PyObject *args);

#endif
