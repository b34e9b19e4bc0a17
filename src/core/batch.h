/* batch.h - callbacks that stand side by side in a foreign loop's queue, called back in one go.  Level 5: loop, handle.
 *
 * Two switches of stacks for each callback of uvloop cost more than the rest of its way through the loop. Its queue is a
 * deque, which can be found. So what call_soon() is given joins the callback before it, where nothing can come between the
 * two; the loop calls the first, and all run on one hub, in the loop's own order, with two switches for them together.
 *
 * Invariants
 *   U1  a batch is open while its handle is the last one in the loop's queue, and the queue is as long as it was when the batch
 *       came there: so the loop has begun none of its handles since, and whatever joins would stand right behind the batch, and
 *       run in the same turn of the loop
 *   U2  a batch that the loop calls is closed first
 *   U3  rec->batch is the one that was made last, while it lives and has not been called
 *   U4  between the look whether a batch is open and the joining no Python may run, so no memory for an object is asked for:
 *       a finalizer that nests there lets the loop call the batch, and what joins afterwards would never be called
 * Owns     a batch: its handles, its record. A record: the queue
 * Thread   joining: any. The rest: the loop's
 */
#ifndef AN_BATCH_H
#define AN_BATCH_H

#include "handle.h"
#include "loop.h"
#include "thread.h"

typedef struct an_batch {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    an_ring handles;
    an_loop *rec;
    const void *handle;           /* the loop's own, compared only */
    Py_ssize_t at;                /* how long the queue was with it */
    long long number, since;      /* when it was made; when the last step that joined began */
    size_t before;                /* how many had joined by then */
    struct an_batch *prev, *next; /* those that were not called yet, by age */
} an_batch;

int an_batch_init(void); /* 0 | -1+exc */

/* What the loop calls (set by foreign_loop.c) */
extern vectorcallfunc an_batch_call;

/* May LOOP's callbacks be batched? In debug mode it watches each. 1 | 0 | -1+exc; runs Python */
int an_batch_allowed(an_loop *rec, PyObject *loop);
/* U1. borrowed | NULL: there is none */
an_batch *an_batch_open(an_loop *rec);
an_batch *an_batch_new(an_loop *rec); /* new ref | NULL+exc */
/* H, a handle, is the next one of B. SINCE: when the step that calls began. 0 | -1+exc; runs no Python: B is still open */
int an_batch_join(an_batch *b, PyObject *h, long long since);
/* LOOP has queued B and gave HANDLE for it: B may be joined, if the queue is found */
void an_batch_queued(an_batch *b, PyObject *loop, PyObject *handle);
void an_batch_close(an_batch *b); /* U2 */
/* What is left of B, which the loop leaves amid it, gets to the front of LOOP's queue. Keeps the current exception */
void an_batch_put_back(an_batch *b, PyObject *loop);
/* Append (callback, context) of each handle that joined after SINCE to LIST. 0 | -1+exc */
int an_batch_pending(an_loop *rec, long long since, PyObject *list);

/* Is there something that the foreign loop of TH has called back, and that no hub has taken yet? */
static inline int
an_batch_job_is_left(an_thread *th)
{
    an_batch *b = th->job.batch;
    return th->job.callback != NULL || (b != NULL && b->handles.len > 0 && th->job.error == NULL);
}

/* The empty context in which a foreign loop calls back. new ref | NULL+exc */
PyObject *an_batch_context(an_loop *rec);

#endif
