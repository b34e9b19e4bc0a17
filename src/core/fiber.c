#include "fiber.h"
#include "chunks.h"

#include <greenlet.h>

/* ---- the type of our own stacks ------------------------------------------------------------ */

/* Foreign code gets one of them from getcurrent() in a step, keeps it, and uses it in another step that runs on another
 * stack. So each does what it is asked as if it were the carrier. What does not come this way (the end of a greenlet whose
 * parent it is, C code) is F4's and F6's business. */
typedef struct {
    an_fibers *owner; /* compared, never followed */
    PyObject *like;   /* the same */
    Py_hash_t hash;
    struct an_link *link; /* a hub's, while it has one */
    const void *serves;   /* compared, never followed */
    PyObject *heir;       /* strong until it has ended: see an_fiber_set_over() */
    uintptr_t begins;
    int over, dismissed;
} an_fiber;

static AN_TLS an_fibers *here = NULL;
static Py_ssize_t own_offset; /* of an_fiber in an object: behind what greenlet keeps there */

static an_fiber *
own(PyObject *self)
{
    return (an_fiber *)(void *)((char *)self + own_offset);
}

void
an_fiber_bind(an_fibers *fs)
{
    here = fs;
}

an_fibers *
an_fiber_here(void)
{
    return here;
}

int
an_fiber_is_ours(PyObject *fiber)
{
    return Py_TYPE(fiber) == (PyTypeObject *)an_st->type_fiber;
}

struct an_link *
an_fiber_link(PyObject *fiber)
{
    return fiber != NULL && an_fiber_is_ours(fiber) ? own(fiber)->link : NULL;
}

void
an_fiber_set_link(PyObject *fiber, struct an_link *link)
{
    own(fiber)->link = link;
}

void
an_fiber_set_over(PyObject *fiber, PyObject *heir)
{
    own(fiber)->over = 1;
    own(fiber)->heir = Py_XNewRef(heir);
}

int
an_fiber_is_over(PyObject *fiber)
{
    return an_fiber_is_ours(fiber) && own(fiber)->over;
}

void
an_fiber_set_serves(PyObject *fiber, const void *rec)
{
    own(fiber)->serves = rec;
}

const void *
an_fiber_serves(PyObject *fiber)
{
    return an_fiber_is_ours(fiber) ? own(fiber)->serves : NULL;
}

void
an_fiber_set_begins(PyObject *fiber, uintptr_t where)
{
    own(fiber)->begins = where;
}

uintptr_t
an_fiber_begins(PyObject *fiber)
{
    return own(fiber)->begins;
}

void
an_fiber_dismiss(PyObject *fiber)
{
    own(fiber)->dismissed = 1;
}

int
an_fiber_is_dismissed(PyObject *fiber)
{
    return own(fiber)->dismissed;
}

/* Whom foreign code means by SELF. new ref */
static PyObject *
meant(PyObject *self)
{
    an_fibers *fs = own(self)->owner;
    PyObject *to = fs == here ? fs->carrier : NULL;
    return Py_NewRef(to != NULL && an_fiber_active(to) ? to : self);
}

static PyObject *
fiber_switch(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *to = meant(self);
    PyObject *r = PyGreenlet_Switch((PyGreenlet *)to, args, kwargs);
    Py_DECREF(to);
    return r;
}

static PyObject *
fiber_throw(PyObject *self, PyObject *args)
{
    PyObject *to = meant(self), *first = PyTuple_Pack(1, to);
    PyObject *all = first == NULL ? NULL : PySequence_Concat(first, args);
    PyObject *r = all == NULL ? NULL : PyObject_CallObject(an_st->greenlet_throw, all);
    Py_XDECREF(all);
    Py_XDECREF(first);
    Py_DECREF(to);
    return r;
}

static PyObject *
fiber_get_context(PyObject *self, void *unused)
{
    PyObject *to = meant(self);
    PyObject *r = Py_TYPE(an_st->greenlet_context)->tp_descr_get(an_st->greenlet_context, to, (PyObject *)Py_TYPE(to));
    Py_DECREF(to);
    return r;
}

static int
fiber_set_context(PyObject *self, PyObject *context, void *unused)
{
    PyObject *to = meant(self);
    int rc = Py_TYPE(an_st->greenlet_context)->tp_descr_set(an_st->greenlet_context, to, context);
    Py_DECREF(to);
    return rc;
}

/* Where the stack hangs that ours stand for: None, as on asyncio, where a loop runs on the thread's first one. greenlet itself
 * does not ask here where to go. */
static PyObject *
fiber_get_parent(PyObject *self, void *unused)
{
    PyObject *at = Py_NewRef(self);
    while (at != NULL && an_fiber_is_ours(at)) {
        Py_SETREF(at, an_fiber_parent(at));
    }
    PyObject *parent = at == NULL ? NULL : an_fiber_parent(at);
    Py_XDECREF(at);
    return parent == NULL ? Py_NewRef(Py_None) : parent;
}

static int
fiber_set_parent(PyObject *self, PyObject *parent, void *unused)
{
    return Py_TYPE(an_st->greenlet_parent)->tp_descr_set(an_st->greenlet_parent, self, parent);
}

static int
fiber_bool(PyObject *self)
{
    PyObject *to = meant(self);
    int r = an_fiber_active(to);
    Py_DECREF(to);
    return r;
}

static PyObject *
fiber_get_dead(PyObject *self, void *unused)
{
    return PyBool_FromLong(!fiber_bool(self));
}

static PyObject *
fiber_richcompare(PyObject *self, PyObject *other, int op)
{
    if (op != Py_EQ && op != Py_NE) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    int same = self == other || other == own(self)->like || (an_fiber_is_ours(other) && own(other)->like == own(self)->like);
    return PyBool_FromLong(op == Py_EQ ? same : !same);
}

static Py_hash_t
fiber_hash(PyObject *self)
{
    return own(self)->hash;
}

static PyMethodDef fiber_methods[] = {
    {"switch", (PyCFunction)(void (*)(void))fiber_switch, METH_VARARGS | METH_KEYWORDS, "As greenlet.switch()."},
    {"throw", fiber_throw, METH_VARARGS, "As greenlet.throw()."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef fiber_getset[] = {
    {"gr_context", fiber_get_context, fiber_set_context, NULL, NULL},
    {"dead", fiber_get_dead, NULL, NULL, NULL},
    {"parent", fiber_get_parent, fiber_set_parent, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot fiber_slots[] = {
    {Py_tp_methods, fiber_methods},
    {Py_tp_getset, fiber_getset},
    {Py_tp_richcompare, fiber_richcompare},
    {Py_tp_hash, fiber_hash},
    {Py_nb_bool, fiber_bool},
    {Py_tp_doc, "A stack that carries an event loop by turns with others."},
    {0, NULL},
};

int
an_fiber_init(void)
{
    PyGreenlet_Import();
    if (_PyGreenlet_API == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ImportError, "greenlet has no C API");
        }
        return -1;
    }
    PyTypeObject *base = &PyGreenlet_Type;
    const Py_ssize_t word = (Py_ssize_t)sizeof(void *);
    own_offset = (base->tp_basicsize + word - 1) / word * word;
    PyType_Spec spec = {
        .name = "aionest._core.Stack",
        .basicsize = (int)(own_offset + (Py_ssize_t)sizeof(an_fiber)),
        .flags = Py_TPFLAGS_DEFAULT, /* and what is inherited: collected as a greenlet is */
        .slots = fiber_slots,
    };
    PyObject *module = PyImport_ImportModule("greenlet");
    if (module == NULL || (an_st->type_fiber = PyType_FromSpecWithBases(&spec, (PyObject *)base)) == NULL ||
        (an_st->greenlet_throw = PyObject_GetAttrString((PyObject *)base, "throw")) == NULL ||
        (an_st->greenlet_context = PyObject_GetAttrString((PyObject *)base, "gr_context")) == NULL ||
        (an_st->greenlet_parent = PyObject_GetAttrString((PyObject *)base, "parent")) == NULL ||
        (an_st->greenlet_settrace = PyObject_GetAttrString(module, "settrace")) == NULL ||
        (an_st->greenlet_gettrace = PyObject_GetAttrString(module, "gettrace")) == NULL) {
        Py_XDECREF(module);
        return -1;
    }
    Py_DECREF(module);
    return 0;
}

/* greenlet makes its record of a thread when it is first asked there: two, if garbage nests amid that. */
static AN_NOINLINE PyObject *
first_look(void)
{
    int was = AN_COLLECTOR_OFF();
    PyObject *current = (PyObject *)PyGreenlet_GetCurrent();
    AN_COLLECTOR_BACK(was);
    return current;
}

PyObject *
an_fiber_current(void)
{
    return AN_LIKELY(here != NULL) ? (PyObject *)PyGreenlet_GetCurrent() : first_look();
}

int
an_fiber_is_current(PyObject *fiber)
{
    PyObject *current = an_fiber_current();
    if (current == NULL) {
        PyErr_Clear(); /* the interpreter ends: nothing is switched any more */
        return 1;
    }
    Py_DECREF(current); /* it runs */
    return current == fiber;
}

PyObject *
an_fiber_new(an_fibers *fs, PyObject *run, PyObject *parent, PyObject *like)
{
    an_chunks_wanted(an_st->n_hubs);
    Py_hash_t hash = PyObject_Hash(like);
    PyObject *args[3] = {NULL, run, parent};
    PyObject *self =
        hash == -1 ? NULL : PyObject_Vectorcall(an_st->type_fiber, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    PyObject *dict = self == NULL ? NULL : PyObject_GenericGetDict(like, NULL);
    if (dict == NULL || PyObject_GenericSetDict(self, dict, NULL) < 0) {
        Py_XDECREF(dict);
        Py_XDECREF(self);
        return NULL;
    }
    Py_DECREF(dict);
    own(self)->owner = fs;
    own(self)->like = an_fiber_is_ours(like) ? own(like)->like : like;
    own(self)->hash = hash;
    return self;
}

/* ---- switches ------------------------------------------------------------ */

static PyObject *
first_active(PyObject *fiber)
{
    while (fiber != NULL && !an_fiber_active(fiber)) {
        Py_SETREF(fiber, an_fiber_parent(fiber));
    }
    return fiber;
}

/* Another number after each switch of any greenlets of this thread: greenlet counts it up, since contexts change. */
static inline uint64_t
switches_of(PyThreadState *tstate)
{
    return tstate->context_ver;
}

int
an_fiber_reap(void)
{
    PyThreadState *tstate = PyThreadState_Get();
    for (int some = 0;; some = 1) {
        uint64_t switches = switches_of(tstate);
        PyObject *current = (PyObject *)PyGreenlet_GetCurrent();
        if (current == NULL) {
            PyErr_Clear(); /* the interpreter ends */
            return some;
        }
        Py_DECREF(current); /* it runs */
        if (AN_LIKELY(switches_of(tstate) == switches)) {
            return some;
        }
    }
}

/* For whom is what came to SELF, which was not expected? new ref | NULL: nobody else */
static PyObject *
addressee(an_fibers *fs, PyObject *self)
{
    PyObject *to = fs->carrier;
    if (to != NULL && an_fiber_active(to)) {
        return to == self ? NULL : Py_NewRef(to);
    }
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_GreenletExit)) {
        return NULL; /* no loop is under way: SELF is let go of */
    }
    return first_active(an_fiber_parent(self)); /* the code that ran the loop, and goes on after it */
}

/* F7. 1 it is kept | 0 there is no memory for that */
static int
keep_passed(an_fibers *fs, PyObject *args)
{
    if (fs->passed == NULL) {
        fs->passed = PyList_New(0);
    }
    if (fs->passed == NULL || PyList_Append(fs->passed, args) < 0) {
        PyErr_Clear();
        return 0;
    }
    return 1;
}

void
an_fiber_forget(an_fibers *fs)
{
    PyObject *passed = fs->passed;
    fs->passed = NULL;
    Py_XDECREF(passed);
}

/* Hand what came here, R or the current exception, to TO, and sleep on. Steals TO. What comes back next. MAY SWITCH */
static PyObject *
pass_on(an_fibers *fs, PyObject *r, PyObject *fiber)
{
    PyGreenlet *to = (PyGreenlet *)fiber;
    if (fs->expected != fiber) {
        fs->expected = NULL; /* the carrier is in a switch of foreign code; else amid ours to it, which is not over yet */
    }
    PyObject *exc = r == NULL ? PyErr_GetRaisedException() : NULL, *tb = exc == NULL ? NULL : PyException_GetTraceback(exc);
    PyObject *args = exc == NULL ? PyTuple_Pack(1, r) : PyTuple_Pack(2, exc, tb == NULL ? Py_None : tb);
    int kept = args != NULL && keep_passed(fs, args); /* greenlet takes references of its own at once */
    if (args == NULL) {
        PyErr_Clear();
    }
    if (kept) {
        Py_CLEAR(r); /* args keeps it, and so does exc, and tb */
        Py_DECREF(args);
        if (exc != NULL) {
            Py_DECREF(exc);
            Py_XDECREF(tb);
        }
    }
    PyObject *got = NULL;
    if (exc != NULL) {
        got = PyGreenlet_Throw(to, (PyObject *)Py_TYPE(exc), exc, tb);
    }
    else if (args != NULL) {
        got = PyGreenlet_Switch(to, args, NULL);
    }
    else {
        PyErr_NoMemory();
    }
    if (!kept) {
        Py_XDECREF(args);
        Py_XDECREF(r);
        Py_XDECREF(exc);
        Py_XDECREF(tb);
    }
    Py_DECREF(to);
    return got;
}

/* R, or an exception, came back to SELF. 0 it was expected | -1+exc | AN_FIBER_THROWN+exc. MAY SWITCH */
static AN_NOINLINE int
woken(an_fibers *fs, PyObject *self, PyObject *mine, PyObject *r, int in_run)
{
    int failures = 0;
    while (fs->expected != self) {
        if (r == NULL && in_run && self != mine) {
            return AN_FIBER_THROWN;
        }
        PyObject *to = addressee(fs, self);
        if (to == NULL) {
            if (r != NULL) {
                Py_DECREF(r);
                PyErr_SetString(PyExc_SystemError, "F4: a stack was woken up, and no other one carries the loop");
            }
            return -1;
        }
        if (r == NULL && PyErr_ExceptionMatches(PyExc_MemoryError) && ++failures > 2) {
            Py_DECREF(to);
            return -1; /* it is the switch that fails */
        }
        r = pass_on(fs, r, to);
    }
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* MINE is stolen. */
static int
awake(an_fibers *fs, PyObject *mine, PyObject *before, int rc)
{
    if (rc == AN_FIBER_THROWN) {
        Py_XDECREF(mine); /* not awake yet */
        return rc;
    }
    fs->expected = before;
    Py_XSETREF(fs->carrier, mine);
    return rc;
}

static inline int
go(an_fibers *fs, PyObject *self, PyObject *fiber, PyObject *carrier, int in_run)
{
    if (AN_UNLIKELY(Py_IsFinalizing())) {
        PyErr_SetString(PyExc_RuntimeError, "the interpreter is shutting down: no other stack can run");
        return -1;
    }
    an_st->n_switches++;
    PyObject *mine = fs->carrier;    /* it is the one under this stack, however long that sleeps */
    PyObject *before = fs->expected; /* if a tracer or a finalizer nests amid another switch, that one goes on */
    fs->carrier = Py_NewRef(carrier != NULL ? carrier : fiber);
    fs->expected = fiber;
    PyThreadState *tstate = PyThreadState_Get();
    uint64_t switches = switches_of(tstate);
    PyObject *r = PyGreenlet_Switch((PyGreenlet *)fiber, NULL, NULL);
    if (AN_LIKELY(r != NULL && fs->expected == self)) {
        fs->expected = before;
        Py_XSETREF(fs->carrier, mine);
        Py_DECREF(r);
        return 0;
    }
    if (r == NULL && fs->expected == fiber && switches_of(tstate) == switches) {
        return awake(fs, mine, before, -1); /* the switch failed */
    }
    return awake(fs, mine, before, woken(fs, self, mine, r, in_run));
}

int
an_fiber_switch(an_fibers *fs, PyObject *self, PyObject *fiber, PyObject *carrier)
{
    return go(fs, self, fiber, carrier, 0);
}

int
an_fiber_sleep(an_fibers *fs, PyObject *self, PyObject *fiber)
{
    return go(fs, self, fiber, NULL, 1);
}

int
an_fiber_sleep_on(an_fibers *fs, PyObject *self, PyObject *carrier, PyObject *expected)
{
    PyObject *mine = Py_XNewRef(carrier);
    return awake(fs, mine, expected, woken(fs, self, mine, Py_NewRef(an_st->empty_tuple), 1));
}

void
an_fiber_take(an_fibers *fs, PyObject *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    fs->expected = NULL;
    Py_XSETREF(fs->carrier, Py_XNewRef(self));
    PyErr_SetRaisedException(exc);
}

void
an_fiber_end(an_fibers *fs, PyObject *self)
{
    PyObject *heir = first_active(an_fiber_parent(self)), *carrier = own(self)->heir;
    own(self)->heir = NULL;
    if (carrier == NULL && fs->carrier == self) {
        carrier = Py_XNewRef(heir);
    }
    if (carrier != NULL) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_XSETREF(fs->carrier, carrier);
        PyErr_SetRaisedException(exc);
    }
    fs->expected = heir;
    Py_XDECREF(heir);
}

PyObject *
an_fiber_parent(PyObject *fiber)
{
    return (PyObject *)PyGreenlet_GetParent((PyGreenlet *)fiber);
}

int
an_fiber_set_parent(PyObject *fiber, PyObject *parent)
{
    return PyGreenlet_SetParent((PyGreenlet *)fiber, (PyGreenlet *)parent);
}

void
an_fiber_exit(void)
{
    PyErr_SetNone(PyExc_GreenletExit);
}

int
an_fiber_active(PyObject *fiber)
{
    return PyGreenlet_ACTIVE((PyGreenlet *)fiber);
}
