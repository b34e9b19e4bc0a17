#include "create.h"
#include "sched.h"

/* ---- tasks ------------------------------------------------------------ */

/* 0 | -1+exc; runs Python */
static int
set_task_name(PyObject *task, PyObject *name)
{
    PyObject *r, *v[2] = {task, name};
    if (AN_LIKELY(Py_IS_TYPE(task, (PyTypeObject *)an_st->o_CTask))) {
        r = PyObject_Vectorcall(an_st->task_set_name, v, 2, NULL);
    }
    else if (an_st->factory_style == AN_FACTORY_NAMED) {
        PyObject *set; /* before 3.13 what a factory made needs no names */
        int found = PyObject_GetOptionalAttr(task, an_st->s_set_name, &set);
        if (found <= 0) {
            return found < 0 || (AN_PY311 && PyErr_WarnEx(PyExc_DeprecationWarning,
                                                          "Task.set_name() was added in Python 3.8, the method support will "
                                                          "be mandatory for third-party task implementations since 3.13.",
                                                          1) < 0)
                       ? -1
                       : 0;
        }
        r = PyObject_CallOneArg(set, name);
        Py_DECREF(set);
    }
    else {
        r = PyObject_CallMethodOneArg(task, an_st->s_set_name, name);
    }
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* 1 if FACTORY is what asyncio.create_eager_task_factory(asyncio.Task) gives: asyncio.eager_task_factory, for one */
static int
makes_eager_tasks(PyObject *factory)
{
    if (an_st->eager_code == NULL || !PyFunction_Check(factory) || PyFunction_GetCode(factory) != an_st->eager_code) {
        return 0;
    }
    PyObject *closure = PyFunction_GetClosure(factory);
    return closure != NULL && PyTuple_GET_SIZE(closure) == 1 && PyCell_GET(PyTuple_GET_ITEM(closure, 0)) == an_st->o_CTask;
}

/* Dicts of keyword arguments for eager tasks, as in make_future() below. Eager tasks make eager tasks while they are being
 * made, so there are several. One that is in use is not in here; those that are refer to nothing but names and None. */
#define AN_EAGER_KWARGS 16
static PyObject *eager_kwargs[AN_EAGER_KWARGS];
static int n_eager_kwargs = 0;

/* new ref | NULL+exc */
static PyObject *
take_eager_kwargs(void)
{
    an_state *st = an_st;
    if (AN_LIKELY(n_eager_kwargs > 0)) {
        return eager_kwargs[--n_eager_kwargs];
    }
    PyObject *d = PyDict_New();
    if (d != NULL && (PyDict_SetItem(d, st->s_loop, Py_None) < 0 || PyDict_SetItem(d, st->s_name, Py_None) < 0 ||
                      PyDict_SetItem(d, st->s_context, Py_None) < 0 || PyDict_SetItem(d, st->s_eager_start, Py_True) < 0)) {
        Py_CLEAR(d);
    }
    return d;
}

/* D is stolen. Keeps the current exception. */
static void
put_eager_kwargs(PyObject *d, int named, int in_context)
{
    an_state *st = an_st;
    PyObject *exc = PyErr_GetRaisedException();
    if (PyDict_SetItem(d, st->s_loop, Py_None) < 0 || (named && PyDict_SetItem(d, st->s_name, Py_None) < 0) ||
        (in_context && PyDict_SetItem(d, st->s_context, Py_None) < 0) || Py_REFCNT(d) != 1 ||
        n_eager_kwargs == AN_EAGER_KWARGS) {
        PyErr_Clear();
        Py_DECREF(d);
    }
    else {
        eager_kwargs[n_eager_kwargs++] = d;
    }
    PyErr_SetRaisedException(exc);
}

/* _asyncio.Task(coro, loop=LOOP, name=NAME, context=CONTEXT, eager_start=True); NAME and CONTEXT may be None. new ref |
 * NULL+exc. MAY SWITCH: the task takes its first step */
static PyObject *
make_eager_task(PyObject *loop, PyObject *coro, PyObject *name, PyObject *context)
{
    an_state *st = an_st;
    PyTypeObject *tp = (PyTypeObject *)st->o_CTask;
    PyObject *args = PyTuple_New(1), *kwargs = args == NULL ? NULL : take_eager_kwargs(), *task = NULL;
    if (kwargs != NULL) {
        PyTuple_SET_ITEM(args, 0, Py_NewRef(coro));
        if (PyDict_SetItem(kwargs, st->s_loop, loop) == 0 &&
            (name == Py_None || PyDict_SetItem(kwargs, st->s_name, name) == 0) &&
            (context == Py_None || PyDict_SetItem(kwargs, st->s_context, context) == 0)) {
            task = tp->tp_new(tp, args, kwargs);
            if (task != NULL && tp->tp_init(task, args, kwargs) < 0) {
                Py_CLEAR(task);
            }
        }
        put_eager_kwargs(kwargs, name != Py_None, context != Py_None);
    }
    Py_XDECREF(args);
    return task;
}

/* loop.create_task(coro) of a loop with a task factory (the caller holds it), as this version's asyncio does it. NAME and
 * CONTEXT are NULL where they were not given; KWNAMES has those that were, VALUES theirs. new ref | NULL+exc; runs Python.
 * MAY SWITCH: an eager task takes its first step here */
static PyObject *
create_task_by(PyObject *factory, PyObject *self, PyObject *coro, PyObject *name, PyObject *context, PyObject *const *values,
               PyObject *kwnames)
{
    an_state *st = an_st;
    int handed_on = st->factory_style == AN_FACTORY_HANDED_ON;
    PyObject *task;
    if (makes_eager_tasks(factory)) {
        task = make_eager_task(self, coro, handed_on && name != NULL ? name : Py_None, context != NULL ? context : Py_None);
    }
    else {
        PyObject *v[4] = {self, coro};
        if (!handed_on) {
            v[2] = context;
            kwnames = context != NULL && context != Py_None ? st->kw_context : NULL;
        }
        else if (kwnames != NULL) {
            for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
                v[2 + i] = values[i]; /* two at most */
            }
        }
        task = PyObject_Vectorcall(factory, v, 2, kwnames);
    }
    name = name == NULL ? Py_None : name;
    if (task != NULL && !handed_on && (name != Py_None || st->factory_style == AN_FACTORY_ALWAYS_NAMED) &&
        set_task_name(task, name) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

/* What asyncio.tasks.Task is makes the task, as in asyncio. NAME and CONTEXT as above, with their values. new ref | NULL+exc;
 * runs Python */
static PyObject *
make_task(PyObject *loop, PyObject *coro, PyObject *name, PyObject *context)
{
    an_state *st = an_st;
    PyObject *type = PyDict_GetItemWithError(st->o_tasks_dict, st->s_Task);
    if (type == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_AttributeError, "module 'asyncio.tasks' has no attribute 'Task'");
        }
        return NULL;
    }
    PyObject *v[4] = {coro, loop, name != NULL ? name : Py_None, context != NULL ? context : Py_None};
    Py_INCREF(type);
    PyObject *kw = context != NULL ? st->kw_task_context : name != NULL ? st->kw_task_name : st->kw_loop;
    PyObject *t = PyObject_Vectorcall(type, v, 1, kw);
    Py_DECREF(type);
    return t;
}

/* The keywords that create_task() takes: borrowed or NULL. 0 | 1 something else: let asyncio's function complain */
static inline int
parse(PyObject *const *values, PyObject *kwnames, PyObject **name, PyObject **context)
{
    Py_ssize_t n = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    *name = *context = NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *k = PyTuple_GET_ITEM(kwnames, i);
        if (k == an_st->s_name) {
            *name = values[i];
        }
        else if (AN_PY311 && k == an_st->s_context) {
            *context = values[i];
        }
        else {
            return 1;
        }
    }
    return 0;
}

static PyObject *
create_task(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    an_state *st = an_st;
    an_loop *rec = an_loop_get(self);
    if (rec == NULL) {
        return NULL;
    }
    PyObject *name, *context;
    if (AN_UNLIKELY(nargs != 1 || rec->closed || rec->debug || parse(args + nargs, kwnames, &name, &context))) {
        return an_sched_stock(st->stock_create_task, self, args, nargs, kwnames);
    }
    PyObject *factory = PyObject_GetAttr(self, st->s__task_factory), *t;
    if (factory == NULL) {
        return NULL;
    }
    if (AN_LIKELY(factory == Py_None)) {
        t = make_task(self, args[0], name, context);
    }
    else if (st->factory_style == AN_FACTORY_UNKNOWN) {
        t = an_sched_stock(st->stock_create_task, self, args, nargs, kwnames);
    }
    else {
        t = create_task_by(factory, self, args[0], name, context, args + nargs, kwnames);
    }
    Py_DECREF(factory);
    return t;
}

/* ---- futures ------------------------------------------------------------ */

/* _asyncio.Future(loop=LOOP) as type_call does it, but with a dict of arguments that is kept: to make and drop one for each
 * future costs as much as the future. While it is in use (__init__ can run Python, and so come here again) it is not in its
 * place. new ref | NULL+exc */
static PyObject *
make_future(PyObject *loop)
{
    an_state *st = an_st;
    PyTypeObject *tp = (PyTypeObject *)st->o_CFuture;
    PyObject *kwargs = st->future_kwargs, *f = NULL;
    st->future_kwargs = NULL;
    if (kwargs == NULL && (kwargs = PyDict_New()) == NULL) {
        return NULL;
    }
    if (PyDict_SetItem(kwargs, st->s_loop, loop) == 0) {
        f = tp->tp_new(tp, st->empty_tuple, kwargs);
        if (f != NULL && tp->tp_init(f, st->empty_tuple, kwargs) < 0) {
            Py_CLEAR(f);
        }
    }
    if (f == NULL || PyDict_SetItem(kwargs, st->s_loop, Py_None) < 0) {
        Py_DECREF(kwargs); /* the next call makes a new one */
        Py_XDECREF(f);
        return NULL;
    }
    Py_XSETREF(st->future_kwargs, kwargs);
    return f;
}

static PyObject *
create_future(PyObject *self, PyObject *noargs)
{
    PyObject *type = PyDict_GetItemWithError(an_st->o_futures_dict, an_st->s_Future);
    if (type == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_AttributeError, "module 'asyncio.futures' has no attribute 'Future'");
        }
        return NULL;
    }
    Py_INCREF(type);
    PyObject *f = AN_LIKELY(type == an_st->o_CFuture) ? make_future(self) : PyObject_Vectorcall(type, &self, 0, an_st->kw_loop);
    Py_DECREF(type);
    return f;
}

/* ---- module ------------------------------------------------------------ */

PyObject *
an_create_task(an_loop *rec, PyObject *loop, PyObject *coro)
{
    if (AN_UNLIKELY(rec->overrides & AN_OVR_CREATE_TASK)) {
        return PyObject_CallMethodOneArg(loop, an_st->s_create_task, coro);
    }
    return create_task(loop, &coro, 1, NULL);
}

/* As asyncio's own has them: libraries look. */
#if AN_PY314
#define KEYWORDS "**kwargs"
#elif AN_PY311
#define KEYWORDS "*, name=None, context=None"
#else
#define KEYWORDS "*, name=None"
#endif

PyMethodDef an_create_methods[] = {
    {"create_task", (PyCFunction)(void (*)(void))create_task, METH_FASTCALL | METH_KEYWORDS,
     "create_task($self, coro, " KEYWORDS ")\n--\n\nSee asyncio.loop.create_task."},
    {"create_future", create_future, METH_NOARGS, "create_future($self, /)\n--\n\nSee asyncio.loop.create_future."},
    {NULL, NULL, 0, NULL},
};
