/* ending.h - end runs that are suspended on a loop that closes, or on a thread that ends.           Level 6: block, hub.
 *
 * Each is resumed with an error, newest first, on its own stack, so its `finally` blocks run; control comes back to the stack
 * that asked for it, which is the base of a run of no loop meanwhile (AN_RUN_DRAINING, hub.h).
 *
 * Thread   the stacks' own
 */
#ifndef AN_ENDING_H
#define AN_ENDING_H

#include "hub.h"

/* End the runs of this thread that are suspended on REC (NULL: all) with RuntimeError(MESSAGE). Returns how many could
 * not be ended (they stand on a stack that is no hub) | -1+exc. MAY SWITCH */
Py_ssize_t an_hub_end_suspended(an_thread *th, an_loop *rec, const char *message);

/* The thread ends, or a forked child does not have it: nobody can come to its record any more. */
void an_ending_of_thread(an_thread *th);

#endif
