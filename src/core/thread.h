/* thread.h - what one thread knows about its loops, hubs and suspended runs.                     Level 3: fiber.
 *
 * Invariants
 *   N1  idle fibers stand in hub_main's park, and nowhere else
 *   N2  every block that is WAITING or READY is in `blocks` of the thread whose stack it suspends
 *   N3  pending holds READY blocks in the order in which they became ready
 *   N4  a record is reached by its own thread through the thread-local pointer, which is not kept over a switch to
 *       another thread (there is none: fibers stay in their thread)
 *   N5  no block outlives the record while it points to it: an_thread_at_end ends them, or cuts them off
 *   N6  `place` is what the current stack has entered: who leaves a stack takes it along, and puts it back first thing
 *       (an_hub_switch, an_suspend). In the midst of a switch it is that of a stack which has entered nothing yet. What else
 *       belongs to a stack is reached through the carrier (F2): a hub's frames, and that it has ended
 * Owns     idle, idle_base, pending items, context, fibers: strong. run: heap memory that the run's own code frees.
 * Thread   its own; `pending` also by others with the GIL (an_block_wake)
 */
#ifndef AN_THREAD_H
#define AN_THREAD_H

#include "fiber.h"
#include "frames.h"
#include "ring-inl.h"
#include "state.h"

struct an_loop;
struct an_block;

typedef enum {
    AN_RUN_OWN,      /* base waits in the trampoline of run_forever */
    AN_RUN_ADOPTED,  /* somebody else's run_forever iterates it; hubs help out while that stack sleeps */
    AN_RUN_FOREIGN,  /* a loop that is not ours calls back; hubs run its callbacks one by one (foreign_loop.h) */
    AN_RUN_DRAINING, /* no loop: suspended runs are being ended, control comes back to base */
} an_run_kind;

/* One run of a loop, from outermost to innermost linked by prev. On the heap: other stacks look at it. */
typedef struct an_run {
    struct an_run *prev;
    an_run_kind kind;
    PyObject *loop;        /* strong, NULL when draining */
    struct an_loop *rec;   /* strong, NULL when draining */
    PyObject *base;        /* strong; NULL when adopted */
    PyObject *exc;         /* strong: what base shall raise */
    an_anchor anchor;      /* base, while hubs carry the run; foreign: who called run_forever */
    an_anchor *ground;     /* what the run stands on: anchor; or that of the foreign run_forever's stack, if it sleeps | NULL */
    long long first_block; /* number of the first that can be one of its */
    int finished;
    uintptr_t highest,
        deepest;        /* foreign: where on the C stack its loop called back first, and where its hubs begin (X6) | 0 */
    int passing;        /* foreign: it ends when nothing is suspended any more */
    uintptr_t amid;     /* foreign: where its loop calls back from somewhere else than its queue (X7) | 0 */
    PyObject *on_begin; /* strong or NULL; foreign: called once, before its first callback */
    int polled;         /* an iteration was begun: even a loop that was stopped before runs one */
} an_run;

typedef struct {
    int in_hub;        /* the stack stands on a hub */
    int in_base_iter;  /* a C _run_once of an adopted loop is on it and looks at pending itself */
    int inplace_depth; /* steps that run in place on it */
    int slept;         /* it may have been asleep since the loop's last turn: other tasks have run amid what runs on it */
    int collecting;    /* garbage is being collected on it (CPython 3.10 only, see suspend.c) */
    int as_guest;      /* its step began in a run of its loop's own, and goes on while that is a guest: no pump is on it (H4) */
} an_place;

typedef struct an_thread {
    PyObject_HEAD
    an_run *run;
    an_fibers fibers;
    an_place place;    /* N6 */
    int moved;         /* runs or blocks came or went: the hub that carries on has another stack beneath it */
    int sigint_raised; /* Ctrl-C raised KeyboardInterrupt in some callback of this batch, which held the front up */
    int bases_asleep;  /* bases, or the trampoline, that sleep in a nested run which began amid a switch to them */
    int preparing;     /* stacks that are about to sleep: what adopted runs need stays */
    int is_main;
    int paused_gc; /* a hub leaves its frames: no finalizer shall nest on a stack that is nobody's */
    int of_runner; /* the outermost run takes Ctrl-C itself (signals.h) */
    an_ring idle;
    PyObject *idle_base; /* a sleeping foreign run_forever's stack that could carry its loop on itself */
    PyObject *tramp;     /* starts hubs from a shallow place when no base does (adopted runs) */
    an_ring pending;
    struct an_block *first, *last; /* blocks, oldest first */
    Py_ssize_t n_blocks;
    long long seq;
    long long slept_ns;     /* total time that stacks of this thread were suspended inside their handles */
    PyObject *corpse;       /* a hub that ended in favour of the stack that runs now, see an_hub_bury() */
    PyObject *below_corpse; /* what was its parent until then */
    struct an_job {
        PyObject *callback, *args, *kwnames, *context, *error, *result;
        struct an_batch *batch;  /* strong or NULL: of whose handles the job is made (batch.h) */
        long long number, since; /* since: callbacks made later have a higher number */
    } job;                       /* see job.h */
    PyObject *context;           /* an empty context for wake-ups */
} an_thread;

int an_thread_init(PyObject *module);

/* Called before a record goes (set by hub.c), in the thread's own end if that can still run code. Switches. */
extern void (*an_thread_at_end)(an_thread *th);

an_thread *an_thread_get(void);  /* borrowed, made if missing | NULL+exc */
an_thread *an_thread_peek(void); /* borrowed or NULL, no exception */
long long an_thread_slept_ns(void);

#endif
