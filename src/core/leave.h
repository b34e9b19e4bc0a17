/* leave.h - leave the current stack, so that another one carries the loop on.                     Level 7: hub.
 *
 * In three parts, as suspend.h has it: prepare finds out whether there is somewhere to go, and makes what that needs; commit
 * asks once more, after all that has run since; an_leave() goes, and returns when this stack's turn has come again.
 *
 *      own run       to an idle hub, else to the base, which starts one
 *      adopted run   to the stack of the run_forever that is not ours, if it waits; else to an idle hub, or by the trampoline
 *      foreign run   to the loop's own stack, which waits in a wrapper
 *
 * Thread   its own
 */
#ifndef AN_LEAVE_H
#define AN_LEAVE_H

#include "hub.h"

/* Everything that leaving may need: 0 | -1+exc. Runs Python. After it comes an_leave_commit() or an_leave_undo() */
int an_leave_prepare(an_thread *th, PyObject *loop, an_loop *rec);
/* Can this stack be left, in spite of what has run since it was prepared? Ends what an_leave_prepare() began. 0 | -1+exc */
int an_leave_commit(an_thread *th, an_loop *rec);
/* The stack does not leave after all. Keeps the current exception. MAY SWITCH */
void an_leave_undo(an_thread *th);

/* Leave this stack, whose block B is linked already. 0 when somebody came back | -1+exc. MAY SWITCH */
int an_leave(an_thread *th, an_block *b);

#endif
