/* exits.h - where a KeyboardInterrupt or SystemExit goes that comes out of a handle.              Level 5: signals.
 *
 * On asyncio it leaves the loop at once. Here it goes, in this order: to the nested run that waits for the task which raised
 * it; to the run in front, if our own SIGINT handler raised it (signals.h); to the base of the run that is carried. Where
 * that is a foreign run_forever asleep in a nested run, that run raises it.
 *
 * Invariants
 *   E1  what came out of a loop's run once does not come out of a later one: a task that raised it keeps it as its outcome,
 *       and a task that awaits that one raises it again, whenever it wakes up
 *   E2  a block has `left` set exactly if such an exception came out of a run of its loop while it slept: that it cannot be
 *       completed when the loop closes is no news then (ending.c)
 * Thread   the loop's
 */
#ifndef AN_EXITS_H
#define AN_EXITS_H

#include "block.h"

/* The current exception came out of a handle of REC's (may be NULL). 1 nobody else needs to raise it, and it is cleared: a
 * nested run that sleeps raises it to its caller; or it is an old one (E1); or Ctrl-C cancelled a nested run in a callback,
 * and the outermost run tells. Runs Python */
int an_exits_has_place(an_thread *th, an_loop *rec);

/* An exception came out of a handle or of the poll. 1 RUN's base shall raise it, 0 it has found its place. Runs Python */
int an_exits_place(an_thread *th, an_run *run);

/* The current exception comes out of a run of REC's (E1, E2). */
void an_exits_mark(an_thread *th, an_loop *rec);

/* The current exception came out of a foreign loop's callback, or of the hub that was to run it: to its place, else to the
 * loop; where that has stopped, to who stopped it, and what ends no program is reported. */
void an_exits_to_foreign(an_thread *th);

#endif
