/* signals.h - Ctrl-C while nested runs sleep in the main thread.                                 Level 5: block.
 *
 * While at least one run of the main thread is suspended, SIGINT is ours if it was Python's default or asyncio.Runner's.
 * The newest waiting run takes it: an asyncio.run is cancelled first and raises KeyboardInterrupt when that is done, the
 * others raise it at once. A handler of the user's own is left alone.
 *
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

#endif
