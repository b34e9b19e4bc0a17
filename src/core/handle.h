/* handle.h - Handle and TimerHandle: what a loop runs.                                           Level 3: state, err.
 *
 * The types derive from asyncio.Handle and asyncio.TimerHandle and keep everything in the slots of those, so whoever
 * looks at a handle from Python (repr, attributes, isinstance, comparison) sees asyncio's own. Where those slots lie is
 * read from their member descriptors at import. What C adds: construction, cancel() and running without Python frames,
 * and a free list.
 *
 * Invariants
 *   D1  every slot of a handle that the engine made is set, as asyncio.Handle.__init__ leaves it; but whoever holds it may
 *       delete a slot, so none is taken for granted once Python has seen the handle
 *   D2  a handle on the free list is untracked and owns nothing
 * Owns     the slots, strong
 * Thread   any, with the GIL
 */
#ifndef AN_HANDLE_H
#define AN_HANDLE_H

#include "state.h"
#include "watch.h"

/* Offsets of the slots, the same for every subclass. Fixed at import. */
typedef struct {
    Py_ssize_t callback, args, cancelled, loop, source_traceback, repr, context, weaklist; /* Handle */
    Py_ssize_t scheduled, when;                                                            /* TimerHandle */
    Py_ssize_t seq; /* ours: a long long behind asyncio's slots, so that equal times keep their order */
} an_handle_layout;

extern an_handle_layout an_hl;

#define AN_HSLOT(h, name) (*(PyObject **)((char *)(h) + an_hl.name))

int an_handle_init(PyObject *module); /* 0 | -1+exc; finds the layout, makes the types */

/* new ref | NULL+exc; args is a new tuple's worth of borrowed items; CONTEXT NULL or None copies the current one */
PyObject *an_handle_new(PyObject *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *context);
PyObject *an_timer_new(PyObject *when, PyObject *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *context);

/* our types while they run as asyncio's do, else NULL: tools that measure callbacks replace Handle._run */
typedef struct {
    PyTypeObject *handle, *timer;
    unsigned tag; /* of our timer's class, which is derived from all others */
} an_plain_types;

extern an_plain_types an_plain;

/* 1 the time of TIMER is in *WHEN | 0 it takes Python code to tell it, or to compare it: no timer of ours or of asyncio's,
 * or its time is no plain number. Runs no Python */
int an_timer_when(PyObject *timer, double *when);

int an_handle_look_again(void); /* 0 | -1+exc; runs Python */

/* Once per turn of a loop. 0 | -1+exc; runs Python */
static inline int
an_handle_keep_up(void)
{
    return AN_UNLIKELY(an_plain.tag != an_watch_class((PyTypeObject *)an_st->type_timer)) ? an_handle_look_again() : 0;
}

static inline int
an_handle_is_plain(PyObject *h)
{
    return Py_IS_TYPE(h, an_plain.handle) || Py_IS_TYPE(h, an_plain.timer);
}

/* 1 cancelled, 0 not, -1+exc. H is any object that stands in a ready queue. Runs Python for foreign ones. */
int an_handle_cancelled(PyObject *h);

/* Run H: its callback in its context; an ordinary exception goes to the loop's exception handler.
 * 0 | -1 with KeyboardInterrupt or SystemExit set (or an error of a foreign handle's own _run). May switch. */
int an_handle_run(PyObject *h);

int an_handle_free_check(void); /* 1 D2 holds, 0 not */

/* A handle that is cancelled already: padding for stock frames that pop a fixed number. new ref | NULL+exc */
PyObject *an_handle_cancelled_one(void);

#endif
