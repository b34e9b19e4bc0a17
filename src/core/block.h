/* block.h - the record of one suspended run: what it waits for and what its stack had entered.   Level 5: thread, loop, task.
 *
 * A block is also the done callback of its future. The call that wakes it does not switch; it queues the block, and the
 * hub (or base stack) that carries the loop hands over when it holds nothing of its own.
 *
 *      state      wake()      interrupt()   resumed
 *      NEW        NEW, early  -             -          the future was done before the stack left: it does not leave
 *      WAITING    READY       READY         -
 *      READY      READY       READY         OVER       the first reason stays
 *      OVER       OVER        OVER          -
 *
 * A stack belongs to its thread. When the loop goes on in another one, a wake-up there is only noted (missed): the run goes
 * on when its own thread carries the loop again, or ends.
 *
 * Invariants
 *   B1  a block is in its thread's list exactly while WAITING or READY, and in `pending` exactly while READY, until it is
 *       handed over to (in the midst of that switch its stack may nest anew)
 *   B2  fiber is the stack that an_suspend() left; nobody else switches to it meanwhile
 *   B3  th is NULL once the block is over; a thread that ends leaves none of its blocks behind that is not
 *   B4  a stack that slept in a foreign loop's run goes on in a run of that loop, and while such a loop's run is the newest no
 *       other loop's does: what it runs next is that loop's business, and goes back to its stack
 * Owns     fiber, carrier, loop, rec, future, task, exc, contexts: strong. th, prev, next: borrowed.
 * Thread   its own; an_block_wake by any with the GIL
 */
#ifndef AN_BLOCK_H
#define AN_BLOCK_H

#include "loop.h"
#include "steps.h"
#include "task.h"
#include "thread.h"

typedef enum { AN_BLOCK_NEW, AN_BLOCK_WAITING, AN_BLOCK_READY, AN_BLOCK_OVER } an_block_state;

typedef enum {
    AN_KIND_PLAIN, /* Ctrl-C raises KeyboardInterrupt in the caller */
    AN_KIND_RUN,   /* Ctrl-C cancels the future, as asyncio.Runner does, and so does whatever else ends the wait */
    AN_KIND_AWAIT, /* Ctrl-C cancels the future, as Task.cancel() does in an await */
} an_block_kind;

typedef struct an_block {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    struct an_block *prev, *next;
    an_thread *th;
    an_block_state state;
    an_block_kind kind;
    an_place place; /* the stack's own, put back when it goes on */
    int interrupts; /* Ctrl-C that this run has taken */
    int handed;     /* taken out of pending: it is its stack's turn */
    int early;      /* its future called back before the stack had left */
    int missed;     /* its future called back while another thread carried the loop; still WAITING */
    int signals;    /* it holds the SIGINT handler (signals.h) */
    int left;       /* KeyboardInterrupt or SystemExit has ended the run of the loop that it sleeps in (exits.h) */
    int told;       /* the task waits for the future */
    int guest;      /* the pump of its loop knows that it sleeps */
    long long number;
    PyObject *carrier; /* the stack of ours under it: fiber itself, or what a foreign stack was started from */
    an_anchor anchor;  /* the frame it sleeps on */
    an_step *step;     /* it is a step of the task's that sleeps, not its coroutine (steps.h) | NULL */
    PyObject *fiber, *loop, *future, *task, *exc;
    an_loop *rec;
    an_contexts contexts;
} an_block;

int an_block_init(PyObject *module);

/* new ref | NULL+exc; FUTURE (a bare yield has none) and TASK may be NULL */
an_block *an_block_new(an_thread *th, an_loop *rec, PyObject *loop, PyObject *future, PyObject *task, an_block_kind kind);

void an_block_link(an_block *b);   /* NEW -> WAITING */
void an_block_unlink(an_block *b); /* -> OVER */

void an_block_wake(an_block *b); /* never fails; does not switch */
/* B goes on with EXC (stolen), when the loop that carries its own comes to it; the future loses its callback. Runs Python */
void an_block_interrupt(an_block *b, PyObject *exc);
/* The same at once, with NestedRunError(MESSAGE): for who hands over to it himself. Runs Python */
void an_block_end(an_block *b, const char *message);

/* The first of the pending ones that may go on here (B4, X7), taken out, handed: who asks goes to its stack, and does nothing
 * before that could fail or run Python. new ref | NULL: there is none. Runs Python (decref) */
an_block *an_block_next(an_thread *th);
int an_block_is_pending(an_thread *th); /* 1 there is one, or will be (X7) */
/* Where X7 holds them back: have their loop call back for them. Keeps no exception; runs Python */
void an_block_ask(an_thread *th);

/* FUTURE is done, but what it called back may not have come through: wake the runs of TH that wait for it. */
void an_block_wake_waiters(an_thread *th, PyObject *future);

/* TH carries REC again: wake the blocks that missed their wake-up meanwhile. */
void an_block_wake_missed(an_thread *th, an_loop *rec);

void an_block_detach(an_block *b); /* take the callback off the future; runs Python */

/* B's stack, the current one, is about to sleep: R4. Runs no Python */
void an_block_set_anchor(an_block *b);
/* The stack that a hub which carries on now runs the loop for: the newest one that sleeps in the run of TH | NULL; borrowed */
an_anchor *an_block_beneath(an_thread *th);

/* The newest waiting block of TH | NULL; borrowed */
an_block *an_block_newest(an_thread *th, an_loop *rec);

/* The stack that a foreign run_forever stands on, if it is asleep in a nested run | NULL; borrowed */
an_block *an_block_of_base(an_thread *th);

/* Called after a wake-up that came on a stack which cannot hand over by itself (set by turn.c). */
extern void (*an_block_after_wake)(an_thread *th);

#endif
