/* relay.h - how a loop wakes up many threads that wait for it: one after the other.              Level 1: compat.
 *
 * Each thread that is woken wants the interpreter. Woken all at once, they queue for the GIL behind the loop, and each costs
 * several switches of threads. So where many wait, the loop only notes whose result is there (they are due), and at the end
 * of a turn hands over to the first of them and stands back. A thread that comes to wait again hands over to the next, the
 * last one to the loop: one switch each, and nobody queues.
 *
 * A thread may do something else with its result: then the loop waits in vain, some hundred microseconds, and wakes all the
 * others. Where that happens twice on end it wakes threads at once, as if they were few, for a growing while.
 *
 * Nobody depends on the loop for what is due: a thread looks itself whether it is, after AN_RELAY_PATIENCE, and again each
 * time it has waited as long as before. So a callback that blocks the loop until such a thread has done something gets its way.
 *
 * Invariants
 *   Y1  a gate in `due` has due set; it is open once it was handed to its thread, or that thread has found out by itself
 *   Y2  running is 1 only while the loop's thread waits for `turn`, or is about to; who sets it to 0 releases `turn`, or is the
 *       loop's thread
 *   Y3  a baton is handed over once, without the GIL, and before its owner waits for anything
 * Owns     the gates in `due`, the lock `turn`
 * Thread   any with the GIL, but an_relay_hand(); an_relay_add() and an_relay_run() the loop's only
 */
#ifndef AN_RELAY_H
#define AN_RELAY_H

#include "ring-inl.h"

#include <pythread.h>

#define AN_RELAY_PATIENCE 0.05 /* seconds */

struct an_relay;

/* What a thread waits at. gate.h makes a type of it. */
typedef struct {
    PyObject_HEAD
    PyThread_type_lock lock; /* held until it is opened */
    int open, due;
    struct an_relay *relay; /* while its thread waits for a loop */
} an_gate;

typedef struct an_relay {
    an_ring due;             /* strong: an_gate */
    PyThread_type_lock turn; /* NULL until it is needed; held but in the moment in which it is the loop's turn */
    int running;
    an_counter steps;  /* times that something was handed over; the loop looks without the GIL */
    int waiting;       /* threads */
    int turns;         /* of the loop, since the last time that it handed over */
    int lates;         /* times on end that a thread did not come back */
    int direct, pause; /* so many are still to be woken at once; as many the next time */
    long long relayed; /* in all, for tests */
} an_relay;

/* the right to go on, on its way to a thread */
typedef struct {
    PyThread_type_lock lock; /* NULL: nothing is to be handed over */
    PyObject *gate;          /* strong or NULL */
} an_baton;

/* Is that many a crowd, and have threads come back of late? If so GATE is due, and will be opened. 1 | 0 open it yourself */
int an_relay_add(an_relay *r, an_gate *gate);
/* At the end of a turn of the loop, which is about to SLEEP or not: hand over if it is time. 1 if it did */
int an_relay_run(an_relay *r, int sleep);
void an_relay_flush(an_relay *r); /* open all that are due */
void an_relay_clear(an_relay *r); /* and free the memory */

/* for a thread that begins to wait: whose turn is it now? */
void an_relay_next(an_relay *r, an_baton *baton);
void an_relay_hand(an_baton *baton); /* without the GIL */
void an_relay_done(an_baton *baton); /* afterwards, with it */

#endif
