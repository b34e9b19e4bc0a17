/* overrides.h - what of asyncio a loop, its class or its selector defines anew.                  Level 4: loop.
 *
 * The C paths do not look methods up. They ask whether something has changed (watch.h), and only then everything is looked at
 * again here: which methods are asyncio's own, whether its selector is a stock one, what asyncio's constants are.
 * What that finds is in the record (L3).
 *
 * Thread   the loop's own, or any with the GIL for a loop that does not run
 */
#ifndef AN_OVERRIDES_H
#define AN_OVERRIDES_H

#include "loop.h"

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
#elif AN_DICTS_MAY_BE_SILENT
    return rec->dict_tag != an_watch_tag(*rec->dict_at);
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

/* SELECTOR is loop._selector: note its parts if it is a stock EpollSelector or KqueueSelector. 0 | -1+exc; runs Python */
int an_loop_look_at_selector(an_loop *rec, PyObject *loop, PyObject *selector);

#endif
