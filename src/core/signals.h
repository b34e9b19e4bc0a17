/* signals.h - Ctrl-C while nested runs sleep in the main thread.                                 Level 5: block.
 *
 * Inside a run that takes Ctrl-C itself (asyncio.run, asyncio.Runner) its handler stays: it cancels the main task, and
 * cancellation reaches through all that is nested in it. Nothing is done here then, nor where the handler is the user's own.
 *
 * Elsewhere (a kernel's loop, run_until_complete at top level) the first run that falls asleep under Python's default
 * handler puts ours in its place until it goes on: it is the front. What is nested in it, in any task, takes none. The
 * first SIGINT cancels what the front waits for, and it raises KeyboardInterrupt when that is done; at the second it does not
 * wait for that. block_on(), which waits for a future of the caller's, raises it at the first. Nothing is raised in the code
 * that runs meanwhile, which may be anybody's (a kernel's own tasks), unless the front has been woken up and that code still
 * goes on.
 *
 * Invariants
 *   S1  a block has `signals` set only in the main thread, and while it is WAITING or READY
 * Thread   main, with the GIL
 */
#ifndef AN_SIGNALS_H
#define AN_SIGNALS_H

#include "block.h"

int an_signals_init(PyObject *module);

void an_signals_enter(an_block *b); /* never fails; runs Python (_signal) */
void an_signals_leave(an_block *b); /* keeps the current exception */
/* A top-level run of TH is over: runs that sleep on take no Ctrl-C until they go on. Keeps the current exception. */
void an_signals_release(an_thread *th);

/* 1 if SIGINT's handler is that of a run. No exception is left. */
int an_signals_of_runner(void);

/* The front (borrowed), if our handler has raised KeyboardInterrupt in code that held it up, in this batch | NULL */
an_block *an_signals_front(an_thread *th);

#endif
