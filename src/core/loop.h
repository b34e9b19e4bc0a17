/* loop.h - the record of one event loop, and one iteration of it.                                Level 4: handle.
 *
 * A record stands for an asyncio.BaseEventLoop. It lives in the loop's __dict__ and is at once the value of loop._ready:
 * a deque to everybody else, a ring to us. While aionest is applied, _ready, _scheduled, _closed, _debug, _stopping and
 * _timer_cancelled_count of every loop are data descriptors that read and write the record, so Python code (asyncio's own
 * included) and C never disagree.
 *
 * Due and ready handles belong to the record, never to a C local: a callback may put the stack that runs it to sleep,
 * and another stack then goes on with the same iteration.
 *
 * Invariants
 *   L1  todo <= ready.len, but for items that outsiders took out of the queue (then todo counts down on an empty ring)
 *   L2  scheduled is a heap of handles by (_when, seq) while order says so (heap.h)
 *   L3  overrides, clock_resolution, pollfd and what belongs to them are right for the loop while an_loop_is_stale() is 0;
 *       pollfd and what belongs to it also while look_at_selector is set, if nothing waits for events
 *   L4  loop_ref leads to the loop while it lives; no pointer to the loop is kept without asking it
 *   L5  own_ready or own_scheduled: overrides has AN_OVR_CALL_SOON, so that asyncio's own functions fill them
 * Owns     the ring's items, scheduled, the cached selector parts, blocks own the record and not the other way round
 * Thread   the loop's own while it runs; call_soon_threadsafe and the deque methods from any thread with the GIL
 */
#ifndef AN_LOOP_H
#define AN_LOOP_H

#include "relay.h"
#include "ring-inl.h"
#include "state.h"
#include "watch.h"

/* what a loop's class (or the instance) defines anew, so that the Python method has to be called */
enum {
    AN_OVR_CALL_SOON = 1 << 0,       /* _call_soon, _check_closed; a queue or heap of its own */
    AN_OVR_CALL_AT = 1 << 1,         /* call_at */
    AN_OVR_TIME = 1 << 2,            /* time */
    AN_OVR_TIMER_CANCELLED = 1 << 3, /* _timer_handle_cancelled */
    AN_OVR_RUN_ONCE = 1 << 4,        /* _run_once */
    AN_OVR_PROCESS_EVENTS = 1 << 5,  /* _process_events */
    AN_OVR_WRITE_TO_SELF = 1 << 6,   /* _write_to_self */
    AN_OVR_CREATE_TASK = 1 << 7,     /* create_task */
    AN_OVR_GET_DEBUG = 1 << 8,       /* get_debug */
};

typedef enum { AN_BATCHES_UNKNOWN, AN_BATCHES_YES, AN_BATCHES_NO } an_batches;

/* of the heap of timers (heap.h) */
typedef enum {
    AN_HEAP_SETTLED,      /* it is a heap */
    AN_HEAP_FIRST_IS_NOT, /* it is, but for the first timer */
    AN_HEAP_UNKNOWN,      /* timers are being compared by Python code, or that has failed */
} an_heap_order;

#define AN_GIL_EVERY 64 /* polls that do not wait, on end: one of so many lets other threads run */

enum { AN_STOP_NO = 0, AN_STOP_DONE = 1 /* its main future is done */, AN_STOP_USER = 2 /* loop.stop() */ };

typedef struct an_loop {
    PyObject_HEAD
    struct an_loop *prev, *next; /* borrowed: all live records, see an_loop_all() */
    PyObject *loop_ref;          /* strong: weak reference, see L4 */
    an_ring ready;               /* strong items */
    PyObject *scheduled;         /* strong, list */
    PyObject *own_ready;         /* strong or NULL: what somebody put in the place of loop._ready; ready is empty then */
    PyObject *own_scheduled;     /* strong or NULL: the same for loop._scheduled, if it is no list */
    PyObject *current_handle;    /* strong, debug mode only */
    Py_ssize_t todo;             /* handles of the current iteration that are still to be run */
    Py_ssize_t timer_cancelled_count;
    unsigned heap_changes; /* another number after each change of scheduled by the engine */
    an_heap_order order;
    int mending;   /* stacks that put it in order: a timer's own code may run amid that */
    long long seq; /* next timer's number */
    int closed, debug, stopping;
    int overrides;
    unsigned epoch, class_tag, selector_tag; /* as they were when overrides, pollfd and so on were looked up (watch.h) */
    unsigned long long dict_tag, selector_dict_tag;
    PyObject **dict_at;   /* where the loop keeps its __dict__: inside of the loop */
    int look_at_selector; /* 1: before the next poll */
    int sleeping;         /* 1 while its thread waits for events without the GIL: a wake-up byte is needed */
    int woken;            /* 1: the byte is written and not yet read */
    int inflight;         /* frames of asyncio's own _run_once may be under way (applied while it ran) */
    int ending;           /* suspended runs are being ended: no new ones */
    int iterating;        /* calls of our _run_once() under way (hub.h) */
    int selecting;        /* calls of its selector's select() under way, on stacks that may sleep in there */
    int inplace;          /* steps run in place since the last poll */
    unsigned int polls_skipped;
    PyObject *context;      /* strong or NULL: the one in which a foreign loop calls back */
    int foreign;            /* its run_forever is not ours (foreign_loop.h) */
    an_batches batches;     /* are callbacks batched (batch.h) */
    PyObject *queue;        /* strong or NULL: the queue of a foreign loop, a deque */
    struct an_batch *batch; /* borrowed or NULL: U3 */
    int carried;            /* a run of ours carries it (hub.h) */
    double clock_resolution;
    /* the stock selector of epoll or kqueue, else pollfd < 0 */
    PyObject *selector;                /* strong: loop._selector as last seen */
    PyObject *selector_dict;           /* strong or NULL: its __dict__ */
    PyObject *fdmap;                   /* strong: its _fd_to_key */
    PyObject *sighandlers;             /* strong or NULL: loop._signal_handlers */
    int pollfd, internal_fds, wake_fd; /* wake_fd: the loop's own end of its wake-up pipe, -1 unknown */
    int eventfd;       /* wakes it up instead, watched edge-triggered by the same epoll object; -1: there is none */
    an_counter wakers; /* threads that are about to write to it, without the GIL */
    int sides;         /* events that one descriptor may have at once, as far as its select() asks for them (kqueue) */
    void *evbuf;       /* of the kind that this build polls with */
    int evcap;
    PyObject *guest;        /* strong or NULL: the object that pumps it inside another loop */
    struct an_loop *outer;  /* strong or NULL: the record of that one */
    PyObject *stop_waiters; /* strong or NULL: list of futures of nested run_forever calls, newest last */
    Py_ssize_t n_blocks;    /* runs suspended on it */
    long long raised_id;    /* marks the KeyboardInterrupt and SystemExit that came out of a run of it; 0: none yet */
    an_relay relay;         /* threads that wait for it */
} an_loop;

int an_loop_init(PyObject *module);

/* borrowed record of LOOP (valid while LOOP lives) | NULL without exception if LOOP has none or is no asyncio loop */
an_loop *an_loop_peek(PyObject *loop);
/* the same, made if missing; NULL+exc: TypeError if LOOP is not a BaseEventLoop */
an_loop *an_loop_get(PyObject *loop);

PyObject *an_loop_of(an_loop *rec); /* its loop: new ref | NULL, no exception: that is gone */

/* new list of the loops that have a record | NULL+exc */
PyObject *an_loop_all(void);
/* Write the record's values into the loop's __dict__, for a class without our descriptors. 0 | -1+exc */
int an_loop_put_back(PyObject *loop);

/* Run one handle of the current batch. 1 ran or skipped one, 0 the batch is done, -1+exc. May switch.
 * If *DUE is not NULL and the next handle is a wake-up of a suspended run (block.h), it is taken out and returned there
 * as a strong reference instead of being run. */
int an_loop_step(an_loop *rec, PyObject *loop, PyObject **due);

#endif
