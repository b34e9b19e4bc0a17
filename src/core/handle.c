#include "handle.h"
#include "err.h"
#include "loop.h"
#include "overrides.h"
#include "steps.h"
#include "task.h"

#include <structmember.h>

an_handle_layout an_hl;

#define AN_HANDLE_FREE_MAX 256
static PyObject *free_handles[AN_HANDLE_FREE_MAX];
static int n_free_handles = 0;

/* ---- layout ------------------------------------------------------------ */

static int
find_slot(PyObject *type, const char *name, Py_ssize_t *offset)
{
    PyObject *d = PyObject_GetAttrString(type, name);
    if (d == NULL) {
        return -1;
    }
    if (!Py_IS_TYPE(d, &PyMemberDescr_Type)) {
        PyErr_Format(PyExc_ImportError, "aionest does not know this asyncio: %R has no slot %s (Python %s). Please report it.",
                     type, name, PY_VERSION);
        Py_DECREF(d);
        return -1;
    }
    *offset = ((PyMemberDescrObject *)d)->d_member->offset;
    Py_DECREF(d);
    return 0;
}

static int
find_layout(void)
{
    an_state *st = an_st;
    PyObject *H = st->o_Handle, *T = st->o_TimerHandle;
    if (find_slot(H, "_callback", &an_hl.callback) < 0 || find_slot(H, "_args", &an_hl.args) < 0 ||
        find_slot(H, "_cancelled", &an_hl.cancelled) < 0 || find_slot(H, "_loop", &an_hl.loop) < 0 ||
        find_slot(H, "_source_traceback", &an_hl.source_traceback) < 0 || find_slot(H, "_repr", &an_hl.repr) < 0 ||
        find_slot(H, "_context", &an_hl.context) < 0 || find_slot(T, "_scheduled", &an_hl.scheduled) < 0 ||
        find_slot(T, "_when", &an_hl.when) < 0) {
        return -1;
    }
    an_hl.weaklist = ((PyTypeObject *)H)->tp_weaklistoffset;
    an_hl.seq = ((PyTypeObject *)T)->tp_basicsize;
    return 0;
}

/* ---- life ------------------------------------------------------------ */

static int
handle_traverse(PyObject *h, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(h));
    Py_VISIT(AN_HSLOT(h, callback));
    Py_VISIT(AN_HSLOT(h, args));
    Py_VISIT(AN_HSLOT(h, cancelled));
    Py_VISIT(AN_HSLOT(h, loop));
    Py_VISIT(AN_HSLOT(h, source_traceback));
    Py_VISIT(AN_HSLOT(h, repr));
    Py_VISIT(AN_HSLOT(h, context));
    return 0;
}

static int
handle_clear(PyObject *h)
{
    Py_CLEAR(AN_HSLOT(h, callback));
    Py_CLEAR(AN_HSLOT(h, args));
    Py_CLEAR(AN_HSLOT(h, cancelled));
    Py_CLEAR(AN_HSLOT(h, loop));
    Py_CLEAR(AN_HSLOT(h, source_traceback));
    Py_CLEAR(AN_HSLOT(h, repr));
    Py_CLEAR(AN_HSLOT(h, context));
    return 0;
}

static int
timer_traverse(PyObject *h, visitproc visit, void *arg)
{
    Py_VISIT(AN_HSLOT(h, scheduled));
    Py_VISIT(AN_HSLOT(h, when));
    return handle_traverse(h, visit, arg);
}

static int
timer_clear(PyObject *h)
{
    Py_CLEAR(AN_HSLOT(h, scheduled));
    Py_CLEAR(AN_HSLOT(h, when));
    return handle_clear(h);
}

static void
handle_dealloc(PyObject *h)
{
    PyTypeObject *tp = Py_TYPE(h);
    PyObject_GC_UnTrack(h);
    if (*(PyObject **)((char *)h + an_hl.weaklist) != NULL) {
        PyObject_ClearWeakRefs(h);
    }
    (void)handle_clear(h);
    an_st->n_handles--;
    if (n_free_handles < AN_HANDLE_FREE_MAX && tp == (PyTypeObject *)an_st->type_handle) {
        free_handles[n_free_handles++] = h;
    }
    else {
        tp->tp_free(h);
    }
    Py_DECREF(tp);
}

static void
timer_dealloc(PyObject *h)
{
    PyTypeObject *tp = Py_TYPE(h);
    PyObject_GC_UnTrack(h);
    if (*(PyObject **)((char *)h + an_hl.weaklist) != NULL) {
        PyObject_ClearWeakRefs(h);
    }
    (void)timer_clear(h);
    an_st->n_handles--;
    tp->tp_free(h);
    Py_DECREF(tp);
}

int
an_handle_free_check(void)
{
    const Py_ssize_t slots[] = {an_hl.callback,         an_hl.args, an_hl.cancelled, an_hl.loop,
                                an_hl.source_traceback, an_hl.repr, an_hl.context,   an_hl.weaklist};
    for (int i = 0; i < n_free_handles; i++) {
        if (PyObject_GC_IsTracked(free_handles[i])) {
            return 0;
        }
        for (size_t j = 0; j < sizeof slots / sizeof slots[0]; j++) {
            if (*(PyObject **)((char *)free_handles[i] + slots[j]) != NULL) {
                return 0;
            }
        }
    }
    return 1;
}

static PyObject *
handle_alloc(void)
{
    PyTypeObject *tp = (PyTypeObject *)an_st->type_handle;
    if (AN_LIKELY(n_free_handles > 0)) {
        PyObject *h = free_handles[--n_free_handles];
        return PyObject_Init(h, tp);
    }
    PyObject *h = tp->tp_alloc(tp, 0);
    if (h != NULL) {
        PyObject_GC_UnTrack(h);
    }
    return h;
}

static PyObject *
tp_new_counted(PyTypeObject *tp, PyObject *args, PyObject *kwds)
{
    PyObject *h = tp->tp_alloc(tp, 0);
    if (h != NULL) {
        an_st->n_handles++;
    }
    return h;
}

static int
fill(PyObject *h, PyObject *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    PyObject *a;
    if (nargs == 0) {
        a = Py_NewRef(an_st->empty_tuple);
    }
    else {
        a = PyTuple_New(nargs);
        if (a == NULL) {
            return -1;
        }
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(a, i, Py_NewRef(args[i]));
        }
    }
    AN_HSLOT(h, args) = a;
    if (context == NULL || context == Py_None) {
        context = an_copy_context();
        if (context == NULL) {
            return -1;
        }
    }
    else {
        Py_INCREF(context);
    }
    AN_HSLOT(h, context) = context;
    AN_HSLOT(h, callback) = Py_NewRef(callback);
    AN_HSLOT(h, cancelled) = Py_NewRef(Py_False);
    AN_HSLOT(h, loop) = Py_NewRef(loop);
    AN_HSLOT(h, source_traceback) = Py_NewRef(Py_None);
    AN_HSLOT(h, repr) = Py_NewRef(Py_None);
    return 0;
}

PyObject *
an_handle_new(PyObject *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    PyObject *h = handle_alloc();
    if (h == NULL) {
        return NULL;
    }
    an_st->n_handles++;
    int r = fill(h, loop, callback, args, nargs, context);
    PyObject_GC_Track(h);
    if (r < 0) {
        Py_DECREF(h);
        return NULL;
    }
    return h;
}

PyObject *
an_timer_new(PyObject *when, PyObject *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    PyTypeObject *tp = (PyTypeObject *)an_st->type_timer;
    PyObject *h = tp->tp_alloc(tp, 0);
    if (h == NULL) {
        return NULL;
    }
    an_st->n_handles++;
    AN_HSLOT(h, when) = Py_NewRef(when);
    AN_HSLOT(h, scheduled) = Py_NewRef(Py_False);
    if (fill(h, loop, callback, args, nargs, context) < 0) {
        Py_DECREF(h);
        return NULL;
    }
    return h;
}

PyObject *
an_handle_cancelled_one(void)
{
    PyObject *h = an_handle_new(Py_None, Py_None, NULL, 0, NULL);
    if (h != NULL) {
        Py_SETREF(AN_HSLOT(h, cancelled), Py_NewRef(Py_True));
    }
    return h;
}

/* ---- cancel ------------------------------------------------------------ */

static PyObject *
stock_cancel(PyObject *h, PyObject *base)
{
    PyObject *f = PyObject_GetAttr(base, an_st->s_cancel);
    if (f == NULL) {
        return NULL;
    }
    PyObject *r = PyObject_CallOneArg(f, h);
    Py_DECREF(f);
    return r;
}

static PyObject *
drop_callback(PyObject *h)
{
    /* asyncio leaves None behind; the values go last, their release can run anything */
    PyObject *callback = AN_HSLOT(h, callback), *args = AN_HSLOT(h, args);
    Py_XSETREF(AN_HSLOT(h, cancelled), Py_NewRef(Py_True));
    AN_HSLOT(h, callback) = Py_NewRef(Py_None);
    AN_HSLOT(h, args) = Py_NewRef(Py_None);
    Py_XDECREF(callback);
    Py_XDECREF(args);
    Py_RETURN_NONE;
}

static PyObject *
handle_cancel(PyObject *h, PyObject *noargs)
{
    if (AN_HSLOT(h, cancelled) == Py_True) {
        Py_RETURN_NONE;
    }
    an_loop *rec = an_loop_peek(AN_HSLOT(h, loop));
    if (rec == NULL || rec->debug || (rec->overrides & AN_OVR_GET_DEBUG)) {
        return stock_cancel(h, an_st->o_Handle);
    }
    return drop_callback(h);
}

static PyObject *
timer_cancel(PyObject *h, PyObject *noargs)
{
    if (AN_HSLOT(h, cancelled) == Py_True) {
        Py_RETURN_NONE;
    }
    an_loop *rec = an_loop_peek(AN_HSLOT(h, loop));
    if (rec == NULL || an_loop_is_stale(rec, AN_HSLOT(h, loop)) || rec->debug ||
        (rec->overrides & (AN_OVR_TIMER_CANCELLED | AN_OVR_GET_DEBUG))) {
        return stock_cancel(h, an_st->o_TimerHandle);
    }
    if (AN_HSLOT(h, scheduled) == Py_True) {
        rec->timer_cancelled_count++;
    }
    return drop_callback(h);
}

/* ---- compare ------------------------------------------------------------ */

int
an_timer_when(PyObject *timer, double *when)
{
    if (!Py_IS_TYPE(timer, (PyTypeObject *)an_st->type_timer) && !Py_IS_TYPE(timer, (PyTypeObject *)an_st->o_TimerHandle)) {
        return 0;
    }
    PyObject *w = AN_HSLOT(timer, when);
    if (AN_LIKELY(w != NULL && PyFloat_CheckExact(w))) {
        *when = PyFloat_AS_DOUBLE(w);
        return 1;
    }
    if (w == NULL || !PyLong_CheckExact(w)) {
        return 0;
    }
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(w, &overflow);
    *when = (double)n;
    return overflow == 0 && n < (1LL << 53) && n > -(1LL << 53);
}

/* As asyncio's own, but that the usual case runs no Python: asyncio's heapq may be at work while another stack is about to
 * carry the loop. */
static PyObject *
timer_richcompare(PyObject *a, PyObject *b, int op)
{
    double x, y;
    if ((op == Py_LT || op == Py_GT) && an_timer_when(a, &x) && an_timer_when(b, &y)) {
        return PyBool_FromLong(op == Py_LT ? x < y : x > y);
    }
    static const char *const names[] = {"__lt__", "__le__", "__eq__", "__ne__", "__gt__", "__ge__"};
    PyObject *f =
        PyObject_GetAttrString(an_st->o_TimerHandle, names[op]); /* (its slot would look for the method of A's class) */
    PyObject *v[2] = {a, b}, *r = f == NULL ? NULL : PyObject_Vectorcall(f, v, 2, NULL);
    Py_XDECREF(f);
    return r;
}

static Py_hash_t
timer_hash(PyObject *h)
{
    PyObject *when = Py_XNewRef(AN_HSLOT(h, when));
    if (when == NULL) {
        PyErr_SetObject(PyExc_AttributeError, an_st->s__when);
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(when);
    Py_DECREF(when);
    return hash;
}

int
an_handle_cancelled(PyObject *h)
{
    PyObject *c;
    if (AN_LIKELY(PyObject_TypeCheck(h, (PyTypeObject *)an_st->o_Handle))) {
        c = AN_HSLOT(h, cancelled);
        if (AN_LIKELY(c == Py_False)) {
            return 0;
        }
        return c == NULL ? 0 : PyObject_IsTrue(c);
    }
    Py_INCREF(h); /* its property may take it out of the queue */
    c = PyObject_GetAttr(h, an_st->s__cancelled);
    int r = c == NULL ? -1 : PyObject_IsTrue(c);
    Py_XDECREF(c);
    Py_DECREF(h);
    return r;
}

/* ---- run ------------------------------------------------------------ */

/* KeyboardInterrupt or SystemExit came out of H, and is told to who runs the loop. If a task keeps it as its own outcome, that
 * shall not write "Task exception was never retrieved" where it goes through several: while runs are nested, or after it has
 * come out of the loop (exits.h, E1). Else it does, as on asyncio. */
static void
told(PyObject *h)
{
    PyObject *exc = PyErr_GetRaisedException(), *task = NULL, *outcome = NULL, *raised = NULL;
    if (an_st->n_blocks == 0 && PyObject_GetOptionalAttr(exc, an_st->s__aionest_raised, &raised) == 0) {
        PyErr_SetRaisedException(exc);
        return;
    }
    PyErr_Clear();
    Py_XDECREF(raised);
    PyObject *callback = Py_XNewRef(AN_HSLOT(h, callback));
    if (callback != NULL && PyObject_GetOptionalAttr(callback, an_st->s___self__, &task) > 0 &&
        PyObject_GetOptionalAttr(task, an_st->s__exception, &outcome) > 0 && outcome == exc &&
        PyObject_SetAttr(task, an_st->s__log_traceback, Py_False) < 0) {
        PyErr_Clear(); /* some other object with an exception */
    }
    PyErr_Clear();
    Py_XDECREF(outcome);
    Py_XDECREF(task);
    Py_XDECREF(callback);
    PyErr_SetRaisedException(exc);
}

static AN_NOINLINE int
report(PyObject *h)
{
    if (an_err_is_exit()) {
        told(h);
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *r = NULL;
    if (an_st->h_callback_error != NULL) {
        an_err_before before;
        an_err_handle(exc, &before);
        r = PyObject_CallFunctionObjArgs(an_st->h_callback_error, h, exc, NULL);
        an_err_handled(&before);
    }
    Py_DECREF(exc);
    if (r == NULL) {
        /* as in asyncio: what the loop's call_exception_handler raises comes out of the loop */
        return -1;
    }
    Py_DECREF(r);
    return 0;
}

static AN_NOINLINE int
run_foreign(PyObject *h)
{
    PyObject *r = PyObject_CallMethodNoArgs(h, an_st->s__run);
    if (r == NULL) {
        if (an_err_is_exit() && PyObject_TypeCheck(h, (PyTypeObject *)an_st->o_Handle)) {
            told(h); /* asyncio's own, in debug mode */
        }
        return -1;
    }
    Py_DECREF(r);
    return 0;
}

int
an_handle_run(PyObject *h)
{
    if (AN_UNLIKELY(!an_handle_is_plain(h))) {
        return run_foreign(h);
    }
    PyObject *context = AN_HSLOT(h, context), *callback = AN_HSLOT(h, callback), *args = AN_HSLOT(h, args), *r = NULL;
    if (AN_UNLIKELY(context == NULL || args == NULL || callback == NULL || !PyContext_CheckExact(context) ||
                    !PyTuple_CheckExact(args))) {
        return run_foreign(h); /* a duck-typed context: asyncio calls its run(); a deleted slot: it raises AttributeError */
    }
    Py_INCREF(context);
    Py_INCREF(callback);
    Py_INCREF(args);
    if (AN_UNLIKELY(an_steps_open != NULL) &&
        an_steps_hold(callback, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args), context)) {
        r = Py_NewRef(Py_None);
    }
    else if (PyContext_Enter(context) == 0) {
        Py_ssize_t n = PyTuple_GET_SIZE(args);
        r = n == 0 ? PyObject_CallNoArgs(callback) : PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(args, 0), (size_t)n, NULL);
        if (AN_LIKELY(r != NULL)) {
            if (AN_UNLIKELY(PyContext_Exit(context) < 0)) {
                Py_CLEAR(r);
            }
        }
        else {
            PyObject *exc = PyErr_GetRaisedException();
            if (PyContext_Exit(context) < 0) {
                PyErr_Clear();
            }
            PyErr_SetRaisedException(exc);
        }
    }
    int rc = 0;
    if (AN_LIKELY(r != NULL)) {
        Py_DECREF(r);
    }
    else {
        rc = report(h);
    }
    if (AN_UNLIKELY(rc < 0)) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_DECREF(callback);
        Py_DECREF(args);
        Py_DECREF(context);
        PyErr_SetRaisedException(exc);
        return rc;
    }
    Py_DECREF(callback);
    Py_DECREF(args);
    Py_DECREF(context);
    return 0;
}

/* ---- types ------------------------------------------------------------ */

static PyMethodDef handle_methods[] = {
    {"cancel", handle_cancel, METH_NOARGS, "cancel($self, /)\n--\n\nCancel the callback; see asyncio.Handle.cancel."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef timer_methods[] = {
    {"cancel", timer_cancel, METH_NOARGS, "cancel($self, /)\n--\n\nCancel the callback; see asyncio.TimerHandle.cancel."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_methods, handle_methods},
    {Py_tp_new, tp_new_counted},
    {Py_tp_doc, "asyncio.Handle whose cancel and run need no Python frame."},
    {0, NULL},
};

static PyType_Slot timer_slots[] = {
    {Py_tp_dealloc, timer_dealloc},
    {Py_tp_traverse, timer_traverse},
    {Py_tp_clear, timer_clear},
    {Py_tp_methods, timer_methods},
    {Py_tp_richcompare, timer_richcompare},
    {Py_tp_hash, timer_hash},
    {Py_tp_new, tp_new_counted},
    {Py_tp_doc, "asyncio.TimerHandle whose cancel and run need no Python frame."},
    {0, NULL},
};

static PyObject *
make_type(const char *name, PyObject *base, size_t extra, PyType_Slot *slots)
{
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(((PyTypeObject *)base)->tp_basicsize + (Py_ssize_t)extra),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
        .slots = slots,
    };
    PyObject *bases = PyTuple_Pack(1, base);
    if (bases == NULL) {
        return NULL;
    }
    PyObject *t = PyType_FromSpecWithBases(&spec, bases);
    Py_DECREF(bases);
    return t;
}

an_plain_types an_plain;

/* The type of our own, if _run of it is asyncio's. Borrowed | NULL | NULL+exc */
static PyTypeObject *
if_plain(PyObject *type)
{
    PyObject *run = PyObject_GetAttr(type, an_st->s__run);
    Py_XDECREF(run);
    return run != NULL && run == an_st->stock_run ? (PyTypeObject *)type : NULL;
}

int
an_handle_look_again(void)
{
    an_plain.handle = if_plain(an_st->type_handle);
    an_plain.timer = PyErr_Occurred() ? NULL : if_plain(an_st->type_timer);
    an_plain.tag = an_watch_class_seen((PyTypeObject *)an_st->type_timer);
    return PyErr_Occurred() ? -1 : 0;
}

int
an_handle_init(PyObject *module)
{
    if (find_layout() < 0 || (an_st->stock_run = PyObject_GetAttr(an_st->o_Handle, an_st->s__run)) == NULL) {
        return -1;
    }
    an_st->type_handle = make_type("aionest._core.Handle", an_st->o_Handle, 0, handle_slots);
    if (an_st->type_handle == NULL) {
        return -1;
    }
    an_st->type_timer = make_type("aionest._core.TimerHandle", an_st->o_TimerHandle, sizeof(long long), timer_slots);
    if (an_st->type_timer == NULL) {
        return -1;
    }
    if (PyModule_AddObjectRef(module, "Handle", an_st->type_handle) < 0 ||
        PyModule_AddObjectRef(module, "TimerHandle", an_st->type_timer) < 0) {
        return -1;
    }
    return an_handle_look_again();
}
