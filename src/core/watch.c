#include "watch.h"

#include <string.h>

unsigned an_watch_epoch = 1;
an_clock an_the_clock = {.state = 2};

/* ---- the clock ------------------------------------------------------------ */

/* time.monotonic as it comes, or what was put in its place. Borrowed or NULL */
static PyObject *
monotonic(void)
{
    an_state *st = an_st;
    PyObject *module = PyDict_GetItemWithError(st->o_base_events_dict, st->s_time);
    if (module == NULL || !PyModule_CheckExact(module) || PyModule_GetDict(module) != st->o_time_dict) {
        return NULL;
    }
    return PyDict_GetItemWithError(st->o_time_dict, st->s_monotonic);
}

int
an_clock_look_again(void)
{
    an_clock *c = &an_the_clock;
    PyObject *exc = PyErr_GetRaisedException();
    c->tags = an_watch_tag(an_st->o_time_dict) + an_watch_tag(an_st->o_base_events_dict);
    PyObject *f = monotonic();
    PyErr_SetRaisedException(exc); /* (in place of what has failed) */
    c->state = 1;
    if (f != NULL && PyCFunction_CheckExact(f)) {
        PyMethodDef *def = ((PyCFunctionObject *)f)->m_ml;
        if (c->def == NULL && strcmp(def->ml_name, "monotonic") == 0) {
            c->def = def; /* a static of the time module's */
            c->function = def->ml_meth;
        }
        if (def == c->def && def->ml_meth == c->function) {
            c->state = 0;
        }
    }
    if (c->def != NULL && Py_IsFinalizing()) {
        c->state = 0; /* modules are emptied, and finalizers may still run loops */
    }
    return c->state == 0;
}

/* ---- dictionaries ------------------------------------------------------------ */

#if AN_DICTS_HAVE_VERSIONS

int
an_watch_dict(PyObject *dict)
{
    return 0;
}

static int
start(void)
{
    return 0;
}

#else

static int watcher = -1;

/* clang-format off */
#define AN_WATCHED(X)                                                                                                  \
    X(_call_soon) X(_check_closed) X(get_debug) X(call_at) X(time) X(_timer_handle_cancelled) X(_run_once)             \
    X(_process_events) X(_write_to_self) X(create_task) X(_clock_resolution) X(_selector) X(select) X(_fd_to_key)      \
    X(_signal_handlers) X(_internal_fds) X(_ssock) X(monotonic) X(MAXIMUM_SELECT_TIMEOUT)                              \
    X(_MIN_SCHEDULED_TIMER_HANDLES) X(_MIN_CANCELLED_TIMER_HANDLES_FRACTION)
/* clang-format on */

/* 1 if KEY is one of the names that matter. Runs no Python. */
static int
matters(PyObject *key)
{
    an_state *st = an_st;
    if (key == NULL || !PyUnicode_CheckExact(key)) {
        return key == NULL; /* the dictionary was emptied, or filled from another one */
    }
#define X(n) \
    if (key == st->s_##n) { \
        return 1; \
    }
    AN_WATCHED(X)
#undef X
    return !PyUnicode_CHECK_INTERNED(key); /* an interned one would have been found; others are rare */
}

/* Called before the change: it is looked at later. */
static int
changed(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
{
    if (event == PyDict_EVENT_DEALLOCATED || an_st == NULL || !matters(key)) {
        return 0;
    }
    an_watch_epoch++;
    an_the_clock.state = 2;
    return 0;
}

int
an_watch_dict(PyObject *dict)
{
    return PyDict_Watch(watcher, dict);
}

static int
start(void)
{
    watcher = PyDict_AddWatcher(changed);
    return watcher < 0 ? -1 : 0;
}

#endif

int
an_watch_init(void)
{
    if (start() < 0 || an_watch_dict(an_st->o_time_dict) < 0 || an_watch_dict(an_st->o_base_events_dict) < 0) {
        return -1;
    }
    (void)an_clock_look_again();
    return 0;
}
