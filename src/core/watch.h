/* watch.h - has anybody replaced what the C paths stand for?                                     Level 2: state.
 *
 * asyncio looks its own methods, its clock and its selector up at each turn, so a test may patch them while a loop runs.
 * The C paths must notice that, and looking everything up as asyncio does would cost what they save. So nothing is looked
 * up: it is noticed that a class or a dictionary changed, and only then everything is looked at again (an_loop_look_again).
 *
 *      a class            its version tag, which CPython renews when the class or one of its bases changes
 *      a dictionary       CPython 3.12 and newer tell of its changes; before, it has a version of its own
 *      time.monotonic     as a dictionary's entry; and the C function behind it, which libraries that travel in time exchange
 *
 * Invariants
 *   W1  an_clock_is_stock() is true exactly if BaseEventLoop.time() would read CLOCK_MONOTONIC now
 *   W2  a name of AN_WATCHED that is set in or deleted from a watched dictionary changes an_watch_epoch or its tag (but see
 *       an_watch_tag)
 * Owns     nothing
 * Thread   any, with the GIL
 */
#ifndef AN_WATCH_H
#define AN_WATCH_H

#include "state.h"

int an_watch_init(void); /* 0 | -1+exc */

extern unsigned an_watch_epoch;

/* From now on what happens to DICT counts. 0 | -1+exc */
int an_watch_dict(PyObject *dict);

/* A number that is another one after DICT (or NULL), an object's __dict__, has got or lost a name; 0 where the epoch tells.
 * On 3.13 it may not be noticed that a name got another value. */
static inline unsigned long long
an_watch_tag(PyObject *dict)
{
    return dict == NULL ? 0 : AN_DICT_SIZE_TAG(dict);
}

/* The version tag of a class, in which 0 stands for one that was just changed */
static inline unsigned
an_watch_class(PyTypeObject *type)
{
    return (unsigned)type->tp_version_tag;
}
/* The same, to be remembered: no class has it that has no tag */
static inline unsigned
an_watch_class_seen(PyTypeObject *type)
{
    return type->tp_version_tag == 0 ? (unsigned)-1 : (unsigned)type->tp_version_tag;
}

typedef struct {
    int state;        /* 0 as it should be; 1 something is replaced; 2 to be looked at */
    PyMethodDef *def; /* time.monotonic's, NULL before it was seen */
    PyCFunction function;
    unsigned long long tags;
} an_clock;

extern an_clock an_the_clock;

int an_clock_look_again(void);

static inline int
an_clock_dicts_are_unchanged(an_clock *c)
{
#if AN_DICTS_HAVE_VERSIONS
    return c->tags == AN_DICT_VERSION(an_st->o_time_dict) + AN_DICT_VERSION(an_st->o_base_events_dict);
#else
    return 1;
#endif
}

static inline int
an_clock_is_stock(void)
{
    an_clock *c = &an_the_clock;
    if (AN_LIKELY(c->state == 0 && c->def->ml_meth == c->function && an_clock_dicts_are_unchanged(c))) {
        return 1;
    }
    return an_clock_look_again();
}

#endif
