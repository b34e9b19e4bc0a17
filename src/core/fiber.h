/* fiber.h - C stacks: everything that aionest asks of greenlet.                                  Level 2: state.
 *
 * The only file that includes greenlet.h (its function table is per translation unit).
 *
 * On stock asyncio every step of every task runs on one greenlet, and other libraries build on it: they keep it as the
 * parent of their own greenlets, switch away in the middle of a callback, and come back in another one. Here several
 * stacks carry the loop by turns. So that foreign code need not know, whatever it hands to any of them reaches the one
 * that carries the loop now (docs/decisions/foreign-greenlets.md).
 *
 * Invariants
 *   F1  a stack of ours that does not run sleeps in an_fiber_switch(), or is in a switch of foreign code
 *   F2  `carrier` is the stack of ours that stands for the loop's own: the one that runs, or the one from which foreign code
 *       switched to the stack that runs. NULL where no loop of ours is under way, and on a foreign loop's own stack between its
 *       callbacks. Who switches sets it for its target, so it is right in the midst of a switch, too, where a tracer or a
 *       finalizer may run anything on the target's stack
 *   F3  `expected` is the target of our own switch while that is under way, else NULL. Its own wake-up clears it; one that
 *       was made in the midst of another, by a tracer or a finalizer, puts back what that one expects; what is handed on
 *       there (F4) leaves it as it is
 *   F4  who wakes in an_fiber_switch() and is not expected was not meant: it hands what it was given, value or exception, to
 *       the carrier. Nothing is dropped, nothing returns early
 *   F5  but an exception that is thrown into a foreign stack asleep in a nested run is meant for it: it interrupts that run,
 *       and is raised when the loop hands over (AN_FIBER_THROWN), so that who threw it goes on, too
 *   F6  no foreign greenlet that runs has a stranded stack (foreign.h) between itself and the carrier
 *   F7  a stack that sleeps on after it has handed something on keeps nothing of it alive: `passed` does, until a hub that
 *       has nothing on its hands lets go of it
 *   F8  in a switch of ours no greenlet ends that another thread let go of: an_fiber_reap() came before, and no Python since
 * Owns     an_fibers: carrier, stranded, tracer_before, passed strong; expected is compared, never followed
 * Thread   a fiber belongs to the thread that made it: only that one may switch to it or set its parent
 * Rules    an_fiber_switch may run anything before it returns, or never return: nothing borrowed is valid after it, and
 *          no address of a local may be known to another stack while it is away
 */
#ifndef AN_FIBER_H
#define AN_FIBER_H

#include "state.h"

struct an_link;

/* One per thread, in its record. */
typedef struct {
    PyObject *expected;
    PyObject *carrier;
    PyObject *stranded;      /* foreign.c: dict {address of a stranded stack: how often} or NULL */
    PyObject *tracer_before; /* foreign.c: the tracer that ours stands in front of, or NULL */
    PyObject *passed;        /* list or NULL: what was handed on (F4), F7 */
    int unsettled;           /* foreign.c: stacks between being counted as stranded and asleep, or awake and not counted */
} an_fibers;

#define AN_FIBER_THROWN 1

int an_fiber_init(void); /* 0 | -1+ImportError */

/* FS is the current thread's from now on; NULL: it has none any more */
void an_fiber_bind(an_fibers *fs);
an_fibers *an_fiber_here(void); /* the current thread's | NULL */

PyObject *an_fiber_current(void);         /* new ref | NULL+exc */
int an_fiber_is_current(PyObject *fiber); /* FIBER may be NULL */
/* A stack for RUN that stands for LIKE, the one that the loop would run on if it were not for us: equal to it, of the same hash
 * and with the same attributes. new ref | NULL+exc; runs Python */
PyObject *an_fiber_new(an_fibers *fs, PyObject *run, PyObject *parent, PyObject *like);
int an_fiber_is_ours(PyObject *fiber); /* made by an_fiber_new */

/* A greenlet that another thread let go of is ended by greenlet when its own thread looks at the current one next, which it
 * does in a switch, too, on the stack that is left (F8). Have that done here, where the thread's record is the current stack's.
 * 1 some were, and ran Python, which may have slept | 0 there were none. Keeps the current exception. MAY SWITCH */
int an_fiber_reap(void);

/* Go there from SELF, the current stack; 0 when somebody of ours switched back | -1+exc when that was not possible, or an
 * exception was thrown in here and no loop is under way that it could be meant for. CARRIER stands for FIBER (F2); NULL: it
 * does so itself. MAY SWITCH */
int an_fiber_switch(an_fibers *fs, PyObject *self, PyObject *fiber, PyObject *carrier);
/* The same for a stack that sleeps in a nested run. AN_FIBER_THROWN+exc if it is a foreign one and the exception was thrown
 * into it: note it, then go on sleeping with an_fiber_sleep_on(). MAY SWITCH */
int an_fiber_sleep(an_fibers *fs, PyObject *self, PyObject *fiber);
/* CARRIER and EXPECTED: what they were when SELF left */
int an_fiber_sleep_on(an_fibers *fs, PyObject *self, PyObject *carrier, PyObject *expected);

/* SELF starts, or goes on after foreign code came back to it: it carries the loop from now on. Keeps the current exception. */
void an_fiber_take(an_fibers *fs, PyObject *self);
/* Let go of what was handed on. Runs Python */
void an_fiber_forget(an_fibers *fs);

/* SELF is about to end: who gets control by that is expected. It is the last thing that SELF does. */
void an_fiber_end(an_fibers *fs, PyObject *self);

/* A hub's own: its frames (frames.h), and that it has ended, though its frames are still to be left (begin.h), for HEIR, the
 * carrier of the stack that goes on; NULL: that one itself. FIBER may be NULL, or not ours: it has none, and has not */
struct an_link *an_fiber_link(PyObject *fiber);
void an_fiber_set_link(PyObject *fiber, struct an_link *link);
void an_fiber_set_over(PyObject *fiber, PyObject *heir);
int an_fiber_is_over(PyObject *fiber);
void an_fiber_set_serves(PyObject *fiber, const void *rec); /* a foreign loop whose callback is under way there | NULL */
const void *an_fiber_serves(PyObject *fiber);               /* compared only */
void an_fiber_set_begins(PyObject *fiber, uintptr_t where); /* it begins below WHERE on the C stack */
uintptr_t an_fiber_begins(PyObject *fiber);                 /* 0: not known */
void an_fiber_dismiss(PyObject *fiber);                     /* it shall end when it wakes up */
int an_fiber_is_dismissed(PyObject *fiber);

int an_fiber_set_parent(PyObject *fiber, PyObject *parent); /* 0 | -1+exc */
PyObject *an_fiber_parent(PyObject *fiber);                 /* new ref | NULL, no exception: the thread's main stack */
void an_fiber_exit(void);                                   /* raise GreenletExit: the current one ends */
int an_fiber_active(PyObject *fiber);                       /* started and not finished */

#endif
