/* turn.h - one iteration of a loop on the stack of whoever asks: a run_forever that is not ours.   Level 7: hub.
 *
 * What the Python method _run_once is while aionest is applied. asyncio's own run_forever calls it where it ran before apply(),
 * the pump of a guest does, and a loop's class that overrides _run_once. The stack of the first of these cannot be left for a
 * hub at will: while it iterates, it lends itself to what became ready, and is given back.
 *
 * Thread   the loop's own
 */
#ifndef AN_TURN_H
#define AN_TURN_H

#include "hub.h"

int an_turn_init(PyObject *module);

/* One iteration of LOOP on this stack. 0 | -1+exc. MAY SWITCH */
int an_turn(an_thread *th, PyObject *loop, an_loop *rec);

#endif
