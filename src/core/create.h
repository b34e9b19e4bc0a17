/* create.h - loop.create_task() and loop.create_future(), without a Python frame.                 Level 4: loop, sched.
 *
 * As this version's asyncio does it, with a task factory or without one, and with what has been put into asyncio.tasks.Task
 * or asyncio.futures.Future. A closed loop, debug mode and odd arguments are asyncio's own function's.
 *
 * Owns     dicts of keyword arguments that are used again; while one is in use it is not in its place, since making an object
 *          can run Python, and so come here once more
 * Thread   as in asyncio
 */
#ifndef AN_CREATE_H
#define AN_CREATE_H

#include "loop.h"

extern PyMethodDef an_create_methods[]; /* for BaseEventLoop */

/* loop.create_task(coro) without keyword arguments. new ref | NULL+exc; runs Python. MAY SWITCH: an eager task takes a step */
PyObject *an_create_task(an_loop *rec, PyObject *loop, PyObject *coro);

#endif
