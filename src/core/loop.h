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
 *   L2  scheduled is a heap of handles by (_when, seq)
 *   L3  overrides, clock_resolution, epfd and what belongs to them are right for the loop while an_loop_is_stale() is 0;
 *       epfd and what belongs to it also while look_at_selector is set, if nothing waits for events
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
    long long seq; /* next timer's number */
    int closed, debug, stopping;
    int overrides;
    unsigned epoch, class_tag, selector_tag; /* as they were when overrides, epfd and so on were looked up (watch.h) */
    unsigned long long dict_tag, selector_dict_tag;
    PyObject **dict_at;   /* where the loop keeps its __dict__: inside of the loop */
    int look_at_selector; /* 1: before the next poll */
    int sleeping;         /* 1 while its thread waits in epoll without the GIL: a wake-up byte is needed */
    int woken;            /* 1: the byte is written and not yet read */
    int inflight;         /* frames of asyncio's own _run_once may be under way (applied while it ran) */
    int ending;           /* suspended runs are being ended: no new ones */
    int iterating;        /* calls of our _run_once() under way (hub.h) */
    int selecting;        /* calls of its selector's select() under way, on stacks that may sleep in there */
    int inplace;          /* steps run in place since the last poll */
    unsigned int polls_skipped;
    PyObject *context; /* strong or NULL: the one in which a foreign loop calls back */
    int foreign;       /* its run_forever is not ours (foreign_loop.h) */
    int carried;       /* a run of ours carries it (hub.h) */
    double clock_resolution;
    /* the stock epoll selector, else epfd < 0 */
    PyObject *selector;              /* strong: loop._selector as last seen */
    PyObject *selector_dict;         /* strong or NULL: its __dict__ */
    PyObject *fdmap;                 /* strong: its _fd_to_key */
    PyObject *sighandlers;           /* strong or NULL: loop._signal_handlers */
    int epfd, internal_fds, wake_fd; /* wake_fd: the loop's own end of its wake-up pipe, -1 unknown */
    int eventfd;       /* wakes it up instead, watched edge-triggered by the same epoll object; -1: there is none */
    an_counter wakers; /* threads that are about to write to it, without the GIL */
    void *evbuf;
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

/* constants of asyncio.base_events, which may be patched, too */
typedef struct {
    double timers, cancelled; /* more timers than that, and a larger part of them cancelled: sweep */
    double select_timeout;
} an_limits;

extern an_limits an_the_limits;

/* Look again at what the loop overrides and at its selector. 0 | -1+exc; runs Python */
int an_loop_refresh(an_loop *rec, PyObject *loop);
/* The same, but its selector is left for the next poll: it may be in use. 0 | -1+exc; runs Python */
int an_loop_look_again(an_loop *rec, PyObject *loop);

/* 1 if the loop's own __dict__ has changed, as far as nothing tells of it */
static inline int
an_loop_dict_is_stale(an_loop *rec)
{
#if AN_DICTS_HAVE_VERSIONS
    return rec->dict_tag != an_watch_tag(*rec->dict_at) + an_watch_tag(an_st->o_base_events_dict);
#else
    return 0;
#endif
}

/* 1 if something that overrides depends on has changed since they were looked up */
static inline int
an_loop_is_stale(an_loop *rec, PyObject *loop)
{
    return AN_UNLIKELY(rec->epoch != an_watch_epoch || rec->class_tag != an_watch_class(Py_TYPE(loop)) ||
                       an_loop_dict_is_stale(rec));
}

static inline int
an_loop_keep_up(an_loop *rec, PyObject *loop)
{
    return an_loop_is_stale(rec, loop) ? an_loop_look_again(rec, loop) : 0;
}

/* SELECTOR is loop._selector: take note of its parts if it is a stock EpollSelector. 0 | -1+exc; runs Python */
int an_loop_look_at_selector(an_loop *rec, PyObject *loop, PyObject *selector);

/* poll.c */
double an_loop_now(void);                                    /* as time.monotonic() */
int an_loop_time(an_loop *rec, PyObject *loop, double *now); /* the loop's own clock. 0 | -1+exc; may run Python */

/* Poll, collect due timers, and set todo for the next batch. WAIT 0: never sleep. 0 | -1+exc; runs Python */
int an_loop_poll(an_loop *rec, PyObject *loop, int wait);

/* Run one handle of the current batch. 1 ran or skipped one, 0 the batch is done, -1+exc. May switch.
 * If *DUE is not NULL and the next handle is a wake-up of a suspended run (block.h), it is taken out and returned there
 * as a strong reference instead of being run. */
int an_loop_step(an_loop *rec, PyObject *loop, PyObject **due);

/* 1 if the heap has a timer that is due, 0 if not, -1+exc */
int an_loop_timer_due(an_loop *rec, PyObject *loop);

int an_heap_push(an_loop *rec, PyObject *timer); /* sched.c and loop.c share the heap: 0 | -1+exc */
PyObject *an_heap_pop(an_loop *rec);             /* new ref | NULL+exc */

/* ready.c: the deque that loop._ready is to others */
extern PySequenceMethods an_ready_as_sequence;
extern PyMethodDef an_ready_methods[];
PyObject *an_ready_iter(PyObject *self);
PyObject *an_ready_repr(PyObject *self);
PyObject *an_ready_richcompare(PyObject *a, PyObject *b, int op);
Py_ssize_t an_ready_len(PyObject *self);
PyObject *an_ready_item(PyObject *self, Py_ssize_t i);
int an_ready_assign(PyObject *self, Py_ssize_t i, PyObject *o); /* O == NULL deletes: 0 | -1+exc */
int an_ready_contains(PyObject *self, PyObject *o);
int an_ready_extend(an_loop *rec, PyObject *iterable); /* 0 | -1+exc; runs Python */

/* The queue, ours or somebody's own. Runs Python if it is that. */
Py_ssize_t an_loop_n_ready(an_loop *rec);         /* >= 0 | -1+exc */
int an_loop_push(an_loop *rec, PyObject *handle); /* 0 | -1+exc */
PyObject *an_loop_pop(an_loop *rec);              /* new ref | NULL empty | NULL+exc */
int an_loop_own_queue(an_loop *rec);              /* AN_OVR_CALL_SOON if L5 says so, or 0 */
/* VALUE takes the place of loop._ready, or of loop._scheduled. 0 | -1+exc; runs Python */
int an_loop_set_ready(an_loop *rec, PyObject *value);
int an_loop_set_scheduled(an_loop *rec, PyObject *value);

/* sched.c: replacement methods for BaseEventLoop */
extern PyMethodDef an_sched_methods[];
extern PyMethodDef an_mixin_methods[]; /* for asyncio.mixins._LoopBoundMixin */
/* A call_soon() has failed: CALLBACK will not be called. Keeps the exception, does not switch (set by block.c) */
extern void (*an_sched_not_queued)(PyObject *callback);
/* push a handle for CALLBACK(ARG) in CONTEXT. 0 | -1+exc */
int an_sched_soon(an_loop *rec, PyObject *loop, PyObject *callback, PyObject *arg, PyObject *context);
/* what is left to be done, without the GIL, to wake a loop up; fd -1: nothing */
typedef struct {
    int fd;
    an_counter *count;
} an_waker;

/* Have LOOP, which another thread runs, carry out WORK, whose coroutine is CORO: it gets a task in work.task, which calls
 * CALLBACK there when it is done. Queued as call_soon_threadsafe() would, but for the waking: *WAKER is to be given to
 * an_sched_wake(), soon and while LOOP lives. 1 | 0 that is not possible for this loop at present | -1+exc; runs Python */
int an_sched_from_thread(an_loop *rec, PyObject *loop, PyObject *coro, PyObject *work, PyObject *callback, an_waker *waker);
void an_sched_wake(an_waker *waker); /* without the GIL */
/* The old one may be closed afterwards. -1: none; -2: none, and the other threads stayed in the parent process */
void an_sched_set_eventfd(an_loop *rec, int fd);
/* loop.create_task(coro) without keyword arguments. new ref | NULL+exc; runs Python */
PyObject *an_sched_create_task(an_loop *rec, PyObject *loop, PyObject *coro);

/* stream.c: replacement methods for _SelectorSocketTransport */
extern PyMethodDef an_stream_methods[];

/* attrs.c: the data descriptors for BaseEventLoop */
extern PyGetSetDef an_loop_attrs[];

#endif
