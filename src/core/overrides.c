#include "overrides.h"
#include "ready.h"

#include <string.h>

/* 1 if NAME of LOOP's class or of LOOP itself is neither asyncio's own nor ours, 0 if it is, -1+exc */
static int
overridden(PyObject *loop, PyObject *dict, PyObject *name, PyObject *stock)
{
    int in_dict = PyDict_Contains(dict, name);
    if (in_dict != 0) {
        return in_dict;
    }
    PyObject *f;
    int found = PyObject_GetOptionalAttr((PyObject *)Py_TYPE(loop), name, &f);
    if (found <= 0) {
        return found < 0 ? -1 : 1;
    }
    int r = f != stock && !Py_IS_TYPE(f, &PyMethodDescr_Type);
    Py_DECREF(f);
    return r;
}

static void
drop_selector(an_loop *rec)
{
    PyObject *fdmap = rec->fdmap, *sighandlers = rec->sighandlers, *dict = rec->selector_dict;
    rec->pollfd = rec->wake_fd = -1;
    rec->selector_dict = NULL;
    rec->fdmap = NULL;
    rec->sighandlers = NULL;
    Py_XDECREF(fdmap);
    Py_XDECREF(sighandlers);
    Py_XDECREF(dict);
}

/* 1 if SELECTOR, of the class that is polled, with DICT for its __dict__, selects as it stands there, 0 if not, -1+exc */
static int
selects_as_stock(PyObject *selector, PyObject *dict)
{
    PyObject *f = PyObject_GetAttr((PyObject *)Py_TYPE(selector), an_st->s_select), *inner = NULL;
    if (f == NULL) {
        return -1;
    }
    int r = f == an_st->stock_select ? PyDict_Contains(dict, an_st->s_select) : 1;
    Py_DECREF(f);
    if (r != 0) {
        return r < 0 ? -1 : 0;
    }
    if (PyDict_GetItemRef(dict, an_st->s__selector, &inner) <= 0) {
        return PyErr_Occurred() ? -1 : 0;
    }
    r = strcmp(Py_TYPE(inner)->tp_name, AN_SELECT_TYPE) == 0;
    Py_DECREF(inner);
    return r;
}

/* What the loop itself says of the events that its selector finds: signals, its wake-up pipe. 0 | -1+exc; runs Python */
static int
look_at_wakers(an_loop *rec, PyObject *loop)
{
    an_state *st = an_st;
    PyObject *v, *ssock;
    if (PyObject_GetOptionalAttr(loop, st->s__signal_handlers, &v) < 0) {
        return -1;
    }
    if (v != NULL && PyDict_CheckExact(v)) {
        rec->sighandlers = v;
    }
    else {
        Py_XDECREF(v);
    }
    if (PyObject_GetOptionalAttr(loop, st->s__internal_fds, &v) < 0) {
        return -1;
    }
    rec->wake_fd = -1;
    if (PyObject_GetOptionalAttr(loop, st->s__ssock, &ssock) > 0) {
        rec->wake_fd = ssock == Py_None ? -1 : PyObject_AsFileDescriptor(ssock);
        Py_DECREF(ssock);
    }
    PyErr_Clear();
    rec->internal_fds = v != NULL && PyLong_Check(v) ? (int)PyLong_AsLong(v) : -1;
    PyErr_Clear();
    Py_XDECREF(v);
    return 0;
}

int
an_loop_look_at_selector(an_loop *rec, PyObject *loop, PyObject *selector)
{
    an_state *st = an_st;
    PyObject *v = NULL;
    rec->look_at_selector = 0;
    if (st->o_PolledSelector != NULL) {
        rec->selector_tag = an_watch_class_seen((PyTypeObject *)st->o_PolledSelector);
    }
    drop_selector(rec);
    Py_XSETREF(rec->selector, Py_NewRef(selector));
    if (st->o_PolledSelector == NULL || !Py_IS_TYPE(selector, (PyTypeObject *)st->o_PolledSelector) ||
        (rec->overrides & AN_OVR_PROCESS_EVENTS)) {
        return 0;
    }
    if ((rec->selector_dict = PyObject_GenericGetDict(selector, NULL)) == NULL || an_watch_dict(rec->selector_dict) < 0) {
        return -1;
    }
    rec->selector_dict_tag = an_watch_tag(rec->selector_dict);
    int stock = selects_as_stock(selector, rec->selector_dict);
    if (stock <= 0) {
        return stock;
    }
    if (PyObject_GetOptionalAttr(selector, st->s__fd_to_key, &v) < 0) {
        return -1;
    }
    if (v == NULL || !PyDict_CheckExact(v)) {
        Py_XDECREF(v);
        return 0;
    }
    rec->fdmap = v;
    /* KqueueSelector asks for as many events as there are filters; older ones count descriptors: the rest comes next time */
    rec->sides = PyDict_Contains(rec->selector_dict, st->s__max_events) > 0 ? 2 : 1;
    if (look_at_wakers(rec, loop) < 0) {
        return -1;
    }
    v = PyObject_CallMethodNoArgs(selector, st->s_fileno);
    if (v == NULL) {
        /* a closed selector: its own select() shall say so */
        PyErr_Clear();
        return 0;
    }
    rec->pollfd = (int)PyLong_AsLong(v);
    Py_DECREF(v);
    return PyErr_Occurred() ? -1 : 0;
}

/* V is stolen. What is no number changes nothing. */
static void
take_number(PyObject *v, double *to)
{
    double d = v == NULL ? *to : PyFloat_AsDouble(v);
    Py_XDECREF(v);
    if (d == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return;
    }
    *to = d;
}

an_limits an_the_limits = {100.0, 0.5, 24.0 * 3600.0};

static int
take_limits(void)
{
    an_state *st = an_st;
    const struct {
        PyObject *name;
        double *to;
    } table[] = {
        {st->s__MIN_SCHEDULED_TIMER_HANDLES, &an_the_limits.timers},
        {st->s__MIN_CANCELLED_TIMER_HANDLES_FRACTION, &an_the_limits.cancelled},
        {st->s_MAXIMUM_SELECT_TIMEOUT, &an_the_limits.select_timeout},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(table); i++) {
        PyObject *v;
        if (PyDict_GetItemRef(st->o_base_events_dict, table[i].name, &v) < 0) {
            return -1;
        }
        take_number(v, table[i].to);
    }
    return 0;
}

int
an_loop_look_again(an_loop *rec, PyObject *loop)
{
    an_state *st = an_st;
    const struct {
        PyObject *name, *stock;
        int flag;
    } table[] = {
        {st->s__call_soon, st->stock__call_soon, AN_OVR_CALL_SOON},
        {st->s__check_closed, st->stock_check_closed, AN_OVR_CALL_SOON},
        {st->s_get_debug, st->stock_get_debug, AN_OVR_CALL_SOON | AN_OVR_GET_DEBUG},
        {st->s_call_at, st->stock_call_at, AN_OVR_CALL_AT},
        {st->s_time, st->stock_time, AN_OVR_TIME},
        {st->s__timer_handle_cancelled, st->stock_timer_handle_cancelled, AN_OVR_TIMER_CANCELLED},
        {st->s__run_once, st->stock_run_once, AN_OVR_RUN_ONCE},
        {st->s__process_events, st->stock_process_events, AN_OVR_PROCESS_EVENTS},
        {st->s__write_to_self, st->stock_write_to_self, AN_OVR_WRITE_TO_SELF},
        {st->s_create_task, NULL, AN_OVR_CREATE_TASK}, /* asyncio's own may have been wrapped before we came */
    };
    if (rec->foreign) {
        rec->overrides = ~0;
        return 0;
    }
    PyObject *dict = PyObject_GenericGetDict(loop, NULL), *v;
    if (dict == NULL) {
        return -1;
    }
    /* first: what changes meanwhile is looked at once more */
    unsigned epoch = an_watch_epoch;
    unsigned long long tag = an_watch_tag(dict);
#if AN_DICTS_HAVE_VERSIONS
    tag += an_watch_tag(st->o_base_events_dict);
#endif
    int overrides = 0, r = an_watch_dict(dict);
    for (size_t i = 0; r >= 0 && i < Py_ARRAY_LENGTH(table); i++) {
        r = overridden(loop, dict, table[i].name, table[i].stock);
        overrides |= r > 0 ? table[i].flag : 0;
    }
    Py_DECREF(dict);
    if (r < 0 || take_limits() < 0 || PyObject_GetOptionalAttr(loop, st->s__clock_resolution, &v) < 0) {
        return -1;
    }
    take_number(v, &rec->clock_resolution);
#if AN_DICTS_HAVE_VERSIONS || AN_DICTS_MAY_BE_SILENT
    rec->dict_at = _PyObject_GetDictPtr(loop);
#endif
    rec->overrides = overrides | an_loop_own_queue(rec);
    rec->look_at_selector = 1;
    rec->epoch = epoch;
    rec->dict_tag = tag;
    rec->class_tag = an_watch_class_seen(Py_TYPE(loop));
    return 0;
}

int
an_loop_refresh(an_loop *rec, PyObject *loop)
{
    PyObject *v;
    if (an_loop_look_again(rec, loop) < 0 || PyObject_GetOptionalAttr(loop, an_st->s__selector, &v) < 0) {
        return -1;
    }
    if (v == NULL) {
        drop_selector(rec);
        Py_CLEAR(rec->selector);
        return 0;
    }
    int r = an_loop_look_at_selector(rec, loop, v);
    Py_DECREF(v);
    return r;
}
