/* driver.h - can somebody else carry a loop on while one of its callers sleeps?                  Level 4: loop.
 *
 * Yes, if it is foreign (its callbacks run on hubs, see foreign_loop.h), if a run of ours carries it, if it is a guest, or if
 * asyncio's own run_forever or _run_once runs it. No, if a class
 * derived from asyncio's runs it in a way of its own: in the main loop of Qt (qasync) or inside trio (trio-asyncio), say. What
 * runs there is the stack that would be put to sleep.
 *
 * Thread   the loop's own
 */
#ifndef AN_DRIVER_H
#define AN_DRIVER_H

#include "loop.h"

/* 0 yes | -1+ForeignLoopError, or another exception. May run Python, does not switch */
int an_driver_check(an_loop *rec, PyObject *loop);

#endif
