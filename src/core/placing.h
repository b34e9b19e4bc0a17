/* placing.h - where on the C stack the hubs of a foreign loop begin.                              Level 7: hub, batch.
 *
 * X6 (foreign_loop.h) in practice. A hub that begins deeper than the frame which calls back leaves the loop's own stack alone.
 * That costs address space and no copying: greenlet saves only what a stack really uses.
 *
 * Thread   the loop's
 */
#ifndef AN_PLACING_H
#define AN_PLACING_H

#include "hub.h"

/* The loop of RUN calls back HERE. */
void an_placing_note(an_run *run, uintptr_t here);

/* Have a hub take the job of the loop that calls back on SELF, the current stack. Before a new one does, a finalizer or a
 * signal's handler may nest in its first frames, or raise: then the next one. 0 | -1+exc. MAY SWITCH */
int an_placing_run(an_thread *th, PyObject *self);

#endif
