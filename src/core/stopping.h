/* stopping.h - what loop.stop() ends: the runs that sleep on the loop, newest first.               Level 6: block, runs.
 *
 * A nested run_forever returns and the loop goes on. A suspended run raises NestedRunError in its caller, one after the other,
 * and only then the loop stops.
 *
 * Thread   its own
 */
#ifndef AN_STOPPING_H
#define AN_STOPPING_H

#include "runs.h"

extern const char an_stopping_message[]; /* what a run says that did not come to its end */

/* loop.stop() while a nested run_forever waits: that one returns, the loop goes on. 1 done | 0 there is none | -1+exc */
int an_stopping_nested(an_loop *rec);

/* The loop is to stop, its iteration is over. 1 something was made pending: go on | 0 nothing is in the way */
int an_stopping_suspended(an_thread *th, an_run *run);

#endif
