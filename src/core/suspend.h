/* suspend.h - put the current stack to sleep until a future is done.                             Level 7: hub, signals.
 *
 * Three phases. Prepare: may run Python, may fail, everything that can fail is done here and can be undone. Commit:
 * neither. Switch: anything may happen; after it only what the block owns is valid.
 *
 * Thread   the loop's, while it runs
 */
#ifndef AN_SUSPEND_H
#define AN_SUSPEND_H

#include "hub.h"
#include "signals.h"

int an_suspend_init(PyObject *module);

/* Sleep until FUTURE is done; NULL: until the loop's next iteration. The caller's task is told what it waits for, so its
 * cancel() reaches FUTURE. The future's own outcome is left to the caller.
 * 0 | -1+exc: CancelledError if the task was cancelled and FUTURE could not take it, RuntimeError if the loop was stopped
 * or closed, KeyboardInterrupt, or what was thrown into this stack. *INTERRUPTS (may be NULL) counts Ctrl-C. MAY SWITCH */
int an_suspend(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future, an_block_kind kind, int *interrupts);

/* Is it right to run the only ready handle, or to poll, on this stack instead of leaving it? */
int an_suspend_avoidable(an_thread *th, an_loop *rec);

#endif
