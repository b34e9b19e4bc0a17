/* hub.h - the stacks that carry a loop on while callers sleep.                                   Level 6: block.
 *
 * A hub is a fiber that runs a loop's iterations. Hubs are not bound to a loop: they carry whatever run is the newest of
 * their thread. When a run that a stack waits for is done, the hub hands over: it goes idle (or ends, when enough are
 * idle) and switches to that stack; the stack finishes its handle, and the hub that stands under it carries on. So
 * there is always exactly one stack that carries the loop.
 *
 *      own run       base waits in an_hub_carry() and starts hubs, so they all begin at the same shallow depth
 *      adopted run   the loop is iterated by somebody else's run_forever (it ran before apply(), or its class has its own);
 *                    hubs appear only when that stack is put to sleep, and give the loop back when it is awake
 *      draining      no loop runs; each suspended run is resumed with an error and control comes back
 *
 * Invariants
 *   H1  a hub that is not on the current stack is idle, or stands under a suspended run
 *   H2  an idle hub holds no loop, no context, no current task
 *   H3  hubs start from base or from the trampoline fiber only, so depth does not grow with the number of sleepers; but where
 *       that stack itself sleeps, since a tracer or a finalizer nested in the midst of a switch to it, from the one that leaves
 *   H4  a hub whose step went on as a guest's, and began in a run of that loop's own, does what the loop's pump does elsewhere:
 *       when the step is over, the loop around it is the running one again, and the pump is scheduled (an_place.as_guest)
 * Thread   its own
 * Errors   KeyboardInterrupt and SystemExit go to the nested run that waits for the task which raised them, else to base
 */
#ifndef AN_HUB_H
#define AN_HUB_H

#include "block.h"

int an_hub_init(PyObject *module);

/* Carry LOOP from this stack until it stops. 0 | -1+exc. MAY SWITCH */
int an_hub_carry(an_thread *th, PyObject *loop, an_loop *rec);

/* Go from SELF, the current stack, to FIBER, for which CARRIER stands (F2), and come back (N6). 0 | -1+exc. MAY SWITCH */
int an_hub_switch(an_thread *th, PyObject *self, PyObject *fiber, PyObject *carrier);

/* First thing on a stack that goes on, but for N6. A hub that ends gives control to its parent, so it made this stack its
 * parent; the next one that ends does the same, and dead fibers that own one another in a long chain would be freed
 * recursively. And foreign greenlets may stand on the dead one: their end goes to its parent, which may be a foreign stack that
 * waits for something else: the one that goes on, or who ends runs of a loop that closes. So the dead one gets the base of the
 * newest run of a loop for its parent instead, and where there is none, the parent that it had. Keeps the current exception. */
void an_hub_bury(an_thread *th);

/* After a stack went on: let go of what adopted runs needed, if nothing needs it any more. */
void an_hub_settle(an_thread *th);

#define AN_BEGINS_NEAR (4 * 1024) /* hubs of a foreign run that begin so near to where these shall are as good (X6) */

/* An idle hub that begins between LOW and HIGH on the C stack; 0 and 0: where a foreign run has not begun it. new ref | NULL */
PyObject *an_hub_idle(an_thread *th, uintptr_t low, uintptr_t high);
/* None is of use to SELF, the current stack. As many are idle as may be: 1 the oldest ends | 0 there is room. MAY SWITCH */
int an_hub_make_room(an_thread *th, PyObject *self);

/* Let all idle hubs and the trampoline end. Keeps the current exception. MAY SWITCH */
void an_hub_dismiss(an_thread *th);

#endif
