/* module.c - aionest._core: one init per part, in the order of their levels.                     Level 9: all. */
#include "attrs.h"
#include "bound.h"
#include "check.h"
#include "chunks.h"
#include "create.h"
#include "drive.h"
#include "driver.h"
#include "ending.h"
#include "err.h"
#include "fiber.h"
#include "foreign.h"
#include "foreign_loop.h"
#include "foreign_method.h"
#include "gate.h"
#include "gather.h"
#include "handle.h"
#include "imports.h"
#include "layout.h"
#include "nested.h"
#include "overrides.h"
#include "sched.h"
#include "signals.h"
#include "stream.h"
#include "taskset.h"
#include "turn.h"
#include "waking.h"
#include "watch.h"

/* ---- methods for BaseEventLoop ------------------------------------------------------------ */

static PyObject *
run_once(PyObject *self, PyObject *noargs)
{
    an_loop *rec = an_loop_get(self);
    an_thread *th = rec == NULL ? NULL : an_thread_get();
    if (th == NULL || an_turn(th, self, rec) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef run_once_def = {"_run_once", run_once, METH_NOARGS,
                                   "_run_once($self, /)\n--\n\nRun one iteration of the event loop."};

/* METHOD is stolen */
static int
add_method(PyObject *dict, PyMethodDef *def, PyObject *method)
{
    int r = method == NULL ? -1 : PyDict_SetItemString(dict, def->ml_name, method);
    Py_XDECREF(method);
    return r;
}

static int
add_methods(PyObject *dict, PyObject *cls, PyMethodDef *defs)
{
    for (PyMethodDef *d = defs; d->ml_name != NULL; d++) {
        if (add_method(dict, d, PyDescr_NewMethod((PyTypeObject *)cls, d)) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
loop_descriptors(PyObject *module, PyObject *noargs)
{
    PyObject *dict = PyDict_New(), *base = an_st->o_BaseEventLoop;
    PyTypeObject *cls = (PyTypeObject *)base;
    if (dict == NULL || add_methods(dict, base, an_sched_methods) < 0 || add_methods(dict, base, an_create_methods) < 0 ||
        add_method(dict, &an_sched_call_soon, an_bound_method(cls, &an_sched_call_soon)) < 0 ||
        add_method(dict, &run_once_def, PyDescr_NewMethod(cls, &run_once_def)) < 0) {
        Py_XDECREF(dict);
        return NULL;
    }
    for (PyGetSetDef *d = an_loop_attrs; d->name != NULL; d++) {
        PyObject *m = PyDescr_NewGetSet((PyTypeObject *)an_st->o_BaseEventLoop, d);
        if (m == NULL || PyDict_SetItemString(dict, d->name, m) < 0) {
            Py_XDECREF(m);
            Py_DECREF(dict);
            return NULL;
        }
        Py_DECREF(m);
    }
    return dict;
}

/* [(class, {name: descriptor}), ...] */
static PyObject *
other_descriptors(PyObject *module, PyObject *noargs)
{
    PyObject *transport = PyDict_New(), *mixin = PyDict_New(), *r = NULL;
    if (transport != NULL && mixin != NULL && add_methods(transport, an_st->o_SocketTransport, an_stream_methods) == 0 &&
        add_methods(mixin, an_st->o_LoopBoundMixin, an_mixin_methods) == 0) {
        r = Py_BuildValue("[(OO)(OO)]", an_st->o_SocketTransport, transport, an_st->o_LoopBoundMixin, mixin);
    }
    Py_XDECREF(transport);
    Py_XDECREF(mixin);
    return r;
}

/* ---- functions ------------------------------------------------------------ */

static PyObject *
keep_for_ever(PyObject *module, PyObject *object)
{
    Py_INCREF(object);
    Py_RETURN_NONE;
}

static PyObject *
carry(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_get(loop);
    an_thread *th = rec == NULL ? NULL : an_thread_get();
    if (th == NULL || an_hub_carry(th, loop, rec) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
end_suspended(PyObject *module, PyObject *args)
{
    PyObject *loop;
    const char *message;
    an_loop *rec = NULL;
    if (!PyArg_ParseTuple(args, "Os:end_suspended", &loop, &message)) {
        return NULL;
    }
    if (loop != Py_None) {
        rec = an_loop_peek(loop);
        if (rec == NULL || rec->n_blocks == 0) {
            return Py_NewRef(an_st->zero); /* nothing that can fail: the loop is to be closed */
        }
    }
    an_thread *th = an_thread_peek();
    if (th == NULL || th->n_blocks == 0) {
        return PyLong_FromSsize_t(rec == NULL ? 0 : rec->n_blocks);
    }
    Py_ssize_t left = an_hub_end_suspended(th, rec, message);
    return left < 0 ? NULL : PyLong_FromSsize_t(left);
}

static PyObject *
loop_info(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_peek(loop);
    if (rec == NULL) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("{s:n,s:i,s:i,s:i,s:n,s:i,s:n,s:L}", "suspended", rec->n_blocks, "carried", rec->carried, "overrides",
                         rec->overrides, "polled", rec->pollfd >= 0, "todo", rec->todo, "waiting", rec->relay.waiting, "due",
                         (Py_ssize_t)rec->relay.due.len, "relayed", rec->relay.relayed);
}

static PyObject *
set_guest(PyObject *module, PyObject *args)
{
    PyObject *loop, *guest, *in;
    if (!PyArg_ParseTuple(args, "OOO:set_guest", &loop, &guest, &in)) {
        return NULL;
    }
    an_loop *rec = an_loop_get(loop), *outer = rec == NULL || in == Py_None ? NULL : an_loop_get(in);
    if (rec == NULL || (in != Py_None && outer == NULL)) {
        return NULL;
    }
    rec->todo = 0;
    PyObject *old_guest = rec->guest, *old_outer = (PyObject *)rec->outer;
    rec->guest = guest == Py_None ? NULL : Py_NewRef(guest);
    rec->outer = (an_loop *)Py_XNewRef((PyObject *)outer);
    Py_XDECREF(old_guest);
    Py_XDECREF(old_outer);
    Py_RETURN_NONE;
}

static PyObject *
set_eventfd(PyObject *module, PyObject *args)
{
    PyObject *loop;
    int fd;
    if (!PyArg_ParseTuple(args, "Oi:set_eventfd", &loop, &fd)) {
        return NULL;
    }
    an_loop *rec = an_loop_get(loop);
    if (rec == NULL) {
        return NULL;
    }
    an_waking_set_eventfd(rec, fd);
    Py_RETURN_NONE;
}

static PyObject *
is_carried(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_peek(loop);
    return PyBool_FromLong(rec != NULL && (rec->carried > 0 || rec->guest != NULL));
}

static PyObject *
stop_done(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_get(loop);
    if (rec == NULL) {
        return NULL;
    }
    if (rec->stopping != AN_STOP_USER) {
        rec->stopping = AN_STOP_DONE;
    }
    Py_RETURN_NONE;
}

/* Code that made a greenlet to run a loop in may ask whether a step runs on that very one: eventlet's hub does. */
static PyObject *
is_on_greenlet(PyObject *module, PyObject *noargs)
{
    PyObject *self = an_fiber_current();
    if (self == NULL) {
        return NULL;
    }
    PyObject *parent = an_fiber_is_ours(self) ? NULL : an_fiber_parent(self);
    int yes = parent != NULL;
    Py_XDECREF(parent);
    Py_DECREF(self);
    return PyBool_FromLong(yes);
}

static PyObject *
sleeper_below(PyObject *module, PyObject *loop)
{
    an_thread *th = an_thread_peek();
    an_block *b =
        th == NULL || th->run == NULL || th->run->kind != AN_RUN_ADOPTED || th->run->loop != loop ? NULL : an_block_of_base(th);
    return Py_NewRef(b == NULL || b->task == NULL ? Py_None : b->task);
}

static PyObject *
set_interrupted(PyObject *module, PyObject *yes)
{
    int v = PyObject_IsTrue(yes);
    if (v < 0) {
        return NULL;
    }
    an_st->interrupted = v;
    Py_RETURN_NONE;
}

static PyObject *
stop_waiters(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_get(loop);
    if (rec == NULL) {
        return NULL;
    }
    if (rec->stop_waiters == NULL && (rec->stop_waiters = PyList_New(0)) == NULL) {
        return NULL;
    }
    return Py_NewRef(rec->stop_waiters);
}

static PyObject *
check_driver(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_get(loop);
    if (rec == NULL || an_driver_check(rec, loop) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
records(PyObject *module, PyObject *noargs)
{
    return an_loop_all();
}

static PyObject *
put_back(PyObject *module, PyObject *loop)
{
    if (an_loop_put_back(loop) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
refresh(PyObject *module, PyObject *loop)
{
    an_loop *rec = an_loop_get(loop);
    if (rec == NULL || an_loop_refresh(rec, loop) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
counters(PyObject *module, PyObject *noargs)
{
    an_state *st = an_st;
    an_thread *th = an_thread_peek();
    return Py_BuildValue("{s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:L,s:L,s:L}", "records", st->n_records, "blocks", st->n_blocks,
                         "fibers", st->n_hubs, "threads", st->n_threads, "handles", st->n_handles, "hubs_idle",
                         th == NULL ? 0 : (Py_ssize_t)th->idle.len, "suspended", th == NULL ? 0 : th->n_blocks, "pending",
                         th == NULL ? 0 : (Py_ssize_t)th->pending.len, "chunk_blocks", an_chunks_blocks(), "switches",
                         st->n_switches, "in_place", st->n_inplace, "total_suspended", st->n_suspended);
}

static PyObject *
configure(PyObject *module, PyObject *args, PyObject *kwargs)
{
#define X(n) #n,
    static char *names[] = {AN_HOOKS(X) NULL};
#undef X
    an_state *st = an_st;
    PyObject *callback_error, *slow_callback, *errors, *runs_in_asyncio, *stop_owner, *frames, *amid_finalizer, *cancelled;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOOOO:_configure", names, &callback_error, &slow_callback, &errors,
                                     &runs_in_asyncio, &stop_owner, &frames, &amid_finalizer, &cancelled)) {
        return NULL;
    }
    Py_XSETREF(st->h_callback_error, Py_NewRef(callback_error));
    Py_XSETREF(st->h_slow_callback, Py_NewRef(slow_callback));
    Py_XSETREF(st->h_errors, Py_NewRef(errors));
    Py_XSETREF(st->h_runs_in_asyncio, Py_NewRef(runs_in_asyncio));
    Py_XSETREF(st->h_stop_owner, Py_NewRef(stop_owner));
    Py_XSETREF(st->h_frames, Py_NewRef(frames));
    Py_XSETREF(st->h_amid_finalizer, Py_NewRef(amid_finalizer));
    Py_XSETREF(st->h_cancelled, Py_NewRef(cancelled));
    Py_RETURN_NONE;
}

static PyObject *
task_factories(PyObject *module, PyObject *args)
{
    PyObject *eager_code;
    int style;
    if (!PyArg_ParseTuple(args, "iO:_task_factories", &style, &eager_code)) {
        return NULL;
    }
    if (an_st->o_CTask == NULL) {
        Py_RETURN_NONE; /* Python tasks only: asyncio's own code for all */
    }
    PyObject *set_name = PyObject_GetAttr(an_st->o_CTask, an_st->s_set_name);
    if (set_name == NULL) {
        return NULL;
    }
    Py_XSETREF(an_st->task_set_name, set_name);
    an_st->factory_style = style;
    Py_XSETREF(an_st->eager_code, eager_code == Py_None ? NULL : Py_NewRef(eager_code));
    Py_RETURN_NONE;
}

static PyObject *
wake_waiters(PyObject *module, PyObject *future)
{
    an_thread *th = an_thread_peek();
    if (th != NULL) {
        an_block_wake_waiters(th, future);
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"run_nested", an_py_run_nested, METH_O,
     "run_nested($module, main, /)\n--\n\n"
     "Run a coroutine as a new task of the running loop and give its result; NotImplemented when no loop runs here or\n"
     "main is no plain coroutine."},
    {"block_on", an_py_block_on, METH_O,
     "block_on($module, future, /)\n--\n\nSuspend the caller until future is done and give its result."},
    {"gather_known", (PyCFunction)(void (*)(void))an_py_gather_known, METH_FASTCALL,
     "gather_known($module, outer, children, loop, code, index, /)\n--\n\nTell the callback of gather()'s children of its "
     "future; True if it may have been called before."},
    {"wake_waiters", wake_waiters, METH_O,
     "wake_waiters($module, future, /)\n--\n\nLet this thread's runs go on that sleep until future is done, though it has not "
     "called them back."},
    {"wait_nested", an_py_wait_nested, METH_O,
     "wait_nested($module, future, /)\n--\n\nThe same, for a future of the run's own: Ctrl-C cancels it."},
    {"await_", an_py_await, METH_O,
     "await_($module, awaitable, /)\n--\n\nAwait in the caller's own task, from synchronous code."},
    {"carry", carry, METH_O, "carry($module, loop, /)\n--\n\nRun loop on hubs until it stops."},
    {"end_suspended", end_suspended, METH_VARARGS,
     "end_suspended($module, loop, message, /)\n--\n\n"
     "End this thread's runs that are suspended on loop (None: on any) with RuntimeError; how many could not be ended."},
    {"set_guest", set_guest, METH_VARARGS,
     "set_guest($module, loop, guest, outer, /)\n--\n\nName the object that pumps loop inside outer, or None and None."},
    {"set_eventfd", set_eventfd, METH_VARARGS,
     "set_eventfd($module, loop, fd, /)\n--\n\n"
     "Wake loop up by this descriptor, which its epoll object watches edge-triggered; -1: by its pipe again,\n"
     "-2: as -1, in a forked child."},
    {"is_carried", is_carried, METH_O,
     "is_carried($module, loop, /)\n--\n\nTrue while loop is run on hubs, or as the guest of another."},
    {"is_on_greenlet", is_on_greenlet, METH_NOARGS,
     "is_on_greenlet($module, /)\n--\n\nTrue inside a greenlet that is neither the thread's first one nor ours."},
    {"sleeper_below", sleeper_below, METH_O,
     "sleeper_below($module, loop, /)\n--\n\n"
     "The task that sleeps in a nested run on the stack that loop's run_forever stands on, where we do not carry it; None if\n"
     "there is none."},
    {"stop_done", stop_done, METH_O,
     "stop_done($module, loop, /)\n--\n\nStop loop, whose main future is done: runs suspended on it stay."},
    {"set_interrupted", set_interrupted, METH_O,
     "set_interrupted($module, yes, /)\n--\n\nTell whether Ctrl-C has cancelled a run of the main thread."},
    {"foreign_method", an_py_foreign_method, METH_VARARGS,
     "foreign_method($module, stock, index, takes_context, queues, /)\n--\n\n"
     "The method stock of an event loop's class, whose argument number index is a callback: that one runs on a stack that\n"
     "can be suspended. queues: it is the call_soon of a loop that calls back in the order of a deque."},
    {"foreign_look_again", an_py_foreign_look_again, METH_O,
     "foreign_look_again($module, loop, /)\n--\n\nDebug mode of a loop that is not ours was switched on or off."},
    {"foreign_callback", an_py_foreign_callback, METH_O,
     "foreign_callback($module, callback, /)\n--\n\n"
     "callback, run on a stack that can be suspended when a loop that is not ours calls it."},
    {"foreign_pending", an_py_foreign_pending, METH_O,
     "foreign_pending($module, loop, /)\n--\n\n(callback, context) of each timer that a loop which is not ours has, and of "
     "each "
     "callback that it was given since the present one began."},
    {"foreign_begin", an_py_foreign_begin, METH_VARARGS,
     "foreign_begin($module, loop, on_begin, /)\n--\n\nA loop that is not ours is about to run here; what foreign_end() wants. "
     "on_begin (or None) is called before its first callback."},
    {"keep_for_ever", keep_for_ever, METH_O, "keep_for_ever($module, object, /)\n--\n\nIt is not freed, not even at exit."},
    {"foreign_end", an_py_foreign_end, METH_VARARGS, "foreign_end($module, loop, before, /)\n--\n\nIt does not run any more."},
    {"stop_waiters", stop_waiters, METH_O,
     "stop_waiters($module, loop, /)\n--\n\nThe futures of nested run_forever calls, oldest first."},
    {"check_driver", check_driver, METH_O,
     "check_driver($module, loop, /)\n--\n\nRaise ForeignLoopError if nobody could carry loop on while its caller sleeps."},
    {"loop_info", loop_info, METH_O, "loop_info($module, loop, /)\n--\n\nWhat the engine knows of loop, or None."},
    {"loop_descriptors", loop_descriptors, METH_NOARGS,
     "loop_descriptors($module, /)\n--\n\nThe attributes that aionest puts on asyncio.BaseEventLoop, by name."},
    {"other_descriptors", other_descriptors, METH_NOARGS,
     "other_descriptors($module, /)\n--\n\nWhat it puts on other classes of asyncio: [(class, attributes by name), ...]."},
    {"task_set_add", an_py_task_set_add, METH_O,
     "task_set_add($module, weakset, /)\n--\n\nWeakSet.add for this set, without Python frames; None if it cannot be done."},
    {"refresh", refresh, METH_O, "refresh($module, loop, /)\n--\n\nLook again at what loop overrides."},
    {"_records", records, METH_NOARGS, "_records($module, /)\n--\n\nThe loops that have a record."},
    {"_put_back", put_back, METH_O, "_put_back($module, loop, /)\n--\n\nGive loop its plain attributes back."},
    {"_probe", (PyCFunction)(void (*)(void))an_layout_probe, METH_FASTCALL,
     "_probe($module, waiting, future, cancelled, fresh, /)\n--\n\nFind the fields of _asyncio.Task."},
    {"_configure", (PyCFunction)(void (*)(void))configure, METH_VARARGS | METH_KEYWORDS,
     "_configure($module, /, callback_error, slow_callback, errors, runs_in_asyncio, stop_owner, frames, amid_finalizer, "
     "cancelled)\n--\n\n"
     "Hand over the Python side's helpers."},
    {"_task_factories", task_factories, METH_VARARGS,
     "_task_factories($module, style, eager_code, /)\n--\n\n"
     "Say how asyncio's create_task() calls a task factory (an_factory_style), and which code its eager ones have."},
    {"_watch_modules", an_py_watch_modules, METH_VARARGS,
     "_watch_modules(look, finder, meta_path)\n\n"
     "Call look() at turns of a loop if the number of loaded modules has changed since, again if it gave False, and if\n"
     "meta_path does not begin with finder. Without arguments: no more."},
    {"_check", an_py_check, METH_NOARGS,
     "_check($module, /)\n--\n\nRaise AssertionError if an invariant of the engine does not hold, for tests."},
    {"_counters", counters, METH_NOARGS, "_counters($module, /)\n--\n\nLive objects and totals, for tests."},
    {NULL, NULL, 0, NULL},
};

/* Lower levels first: each may use what those before have made. 0 | -1+exc */
static int
init_all(PyObject *module)
{
    int (*const table[])(PyObject *) = {
        an_handle_init, an_thread_init,  an_loop_init,         an_gate_init,           an_block_init,   an_hub_init,
        an_turn_init,   an_suspend_init, an_foreign_loop_init, an_foreign_method_init, an_signals_init,
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(table); i++) {
        if (table[i](module) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
exec(PyObject *module)
{
    if (an_st != NULL) {
        PyErr_SetString(PyExc_ImportError, "aionest._core is loaded already: it cannot be loaded twice in one process");
        return -1;
    }
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "aionest works in the main interpreter only: greenlet, which switches its "
                                           "stacks, cannot be used in subinterpreters");
        return -1;
    }
    an_state *st = PyModule_GetState(module);
    an_st = st;
    if (an_state_init(module, st) < 0 || an_fiber_init() < 0 || an_bound_init() < 0 || an_watch_init() < 0 ||
        an_foreign_init() < 0 || init_all(module) < 0 ||
        PyModule_AddObjectRef(module, "LINUX_PATHS", AN_LINUX ? Py_True : Py_False) < 0 ||
        PyModule_AddStringConstant(module, "POLLED_SELECTOR", st->o_PolledSelector == NULL ? "" : AN_SELECTOR) < 0) {
        an_st = NULL;
        return -1;
    }
#ifdef AN_FAULTS
    if (PyModule_AddFunctions(module, an_faults_methods) < 0) {
        return -1;
    }
#endif
    Py_INCREF(module); /* for ever: handles and loops outlive sys.modules at exit (state.h) */
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, exec},
    /* clang-format off */
    AN_SLOT_INTERPRETERS
    /* clang-format on */
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "aionest._core",
    .m_doc = "The engine of aionest: nested asyncio by suspending the caller's C stack.",
    .m_size = sizeof(an_state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = an_state_traverse,
    .m_clear = an_state_clear,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
