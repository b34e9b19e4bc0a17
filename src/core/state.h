/* state.h - everything that the module keeps for itself: names, imported objects, types.         Level 1: compat.
 *
 * One X-macro per group makes the struct, its traverse and its clear, so no member can be forgotten in one of them.
 *
 * There is one instance: the module refuses any but the main interpreter and cannot be executed twice, and the
 * methods that it puts on asyncio's classes are called with the loop alone, without a way to a module object. So
 * `an_st` is process-wide: set by the module's exec slot and valid until the process ends, since the module keeps itself
 * alive from then on (loops and handles may outlive sys.modules at interpreter exit).
 *
 * Owns     every member (strong), but for loop_cache (borrowed pair, see loop.h)
 * Thread   written at import and at exit only; read by any thread with the GIL
 */
#ifndef AN_STATE_H
#define AN_STATE_H

#include "compat.h"

/* interned strings: member s_NAME */
/* clang-format off */
#define AN_NAMES(X)                                                                                                    \
    X(_aionest) X(_ready) X(_scheduled) X(_closed) X(_debug) X(_stopping) X(_timer_cancelled_count)                    \
    X(_selector) X(_fd_to_key) X(_max_events) X(_signal_handlers) X(_internal_fds) X(_process_events) X(_run_once)     \
    X(_call_soon) X(_check_closed) X(_check_thread) X(_check_callback) X(_timer_handle_cancelled) X(_write_to_self)    \
    X(_add_callback) X(_remove_reader) X(_remove_writer) X(_clock_resolution) X(_current_handle) X(_task_factory)      \
    X(slow_callback_duration) X(time) X(call_soon) X(call_at) X(call_later) X(call_soon_threadsafe) X(create_task)     \
    X(get_debug) X(context) X(name) X(loop) X(coro) X(cancel) X(_cancelled) X(_run) X(select) X(fileno) X(run)         \
    X(add_done_callback) X(remove_done_callback) X(result) X(done) X(cancelled) X(exception) X(get_loop) X(_loop)      \
    X(_asyncio_future_blocking) X(_fut_waiter) X(_must_cancel) X(_make_cancelled_error) X(_cancel_message)             \
    X(_exception) X(_log_traceback) X(_aionest_raised) X(get_coro) X(cr_running)                                       \
    X(uncancel) X(close) X(send) X(__await__) X(_source_traceback) X(eager_start)                                      \
    X(suspend) X(resume) X(kick) X(_log_destroy_pending) X(set_name) X(default_int_handler) X(func) X(_on_sigint)      \
    X(is_running) X(task) X(start) X(_csock) X(args) X(throw) X(_check_running) X(Task) X(Future) X(_sock)  \
    X(_read_ready_cb) X(_conn_lost) X(max_size) X(_protocol) X(data_received) X(_buffer) X(_eof) X(_empty_waiter)      \
    X(_ssock) X(_process_self_data) X(_read_from_self) X(_read_ready__data_received) X(write) X(_get_loop) X(__self__)  \
    X(append) X(popleft) X(run_forever) X(_when) X(__name__) X(_callbacks) X(cr_frame) X(_state) X(cancelling)                 \
    X(recv) X(monotonic) X(MAXIMUM_SELECT_TIMEOUT) X(_MIN_SCHEDULED_TIMER_HANDLES) X(_MIN_CANCELLED_TIMER_HANDLES_FRACTION)
/* clang-format on */

/* objects imported from the standard library: member o_NAME, MODULE, ATTRIBUTE, NEEDED */
/* clang-format off */
#define AN_IMPORTS(X)                                                                                                  \
    X(Handle, "asyncio.events", "Handle", 1)                                                                           \
    X(TimerHandle, "asyncio.events", "TimerHandle", 1)                                                                 \
    X(ThreadSafeHandle, "asyncio.events", "_ThreadSafeHandle", 0)                                                      \
    X(BaseEventLoop, "asyncio.base_events", "BaseEventLoop", 1)                                                        \
    X(run_until_complete_cb, "asyncio.base_events", "_run_until_complete_cb", 1)                                       \
    X(AbstractEventLoop, "asyncio.events", "AbstractEventLoop", 1)                                                     \
    X(BaseSelectorEventLoop, "asyncio.selector_events", "BaseSelectorEventLoop", 1)                                    \
    X(time_dict, "time", "__dict__", 1)                                                                                \
    X(base_events_dict, "asyncio.base_events", "__dict__", 1)                                                          \
    X(PolledSelector, "selectors", AN_SELECTOR, 0)                                                                     \
    X(get_running_loop, "asyncio.events", "_get_running_loop", 1)                                                      \
    X(set_running_loop, "asyncio.events", "_set_running_loop", 1)                                                      \
    X(Task, "asyncio.tasks", "Task", 1)                                                                                \
    X(CTask, "_asyncio", "Task", 0)                                                                                    \
    X(CFuture, "_asyncio", "Future", 0)                                                                                \
    X(CancelledError, "asyncio.exceptions", "CancelledError", 1)                                                       \
    X(tasks_dict, "asyncio.tasks", "__dict__", 1)                                                                      \
    X(futures_dict, "asyncio.futures", "__dict__", 1)                                                                  \
    X(LoopBoundMixin, "asyncio.mixins", "_LoopBoundMixin", 1)                                                          \
    X(isfuture, "asyncio.futures", "isfuture", 1)                                                                      \
    X(iscoroutine, "asyncio.coroutines", "iscoroutine", 1)                                                             \
    X(swap_current_task, "asyncio.tasks", "_swap_current_task", 0)                                                     \
    X(current_tasks, "asyncio.tasks", "_current_tasks", 0)                                                             \
    X(awaited_by_add, "asyncio.futures", "future_add_to_awaited_by", 0)                                                \
    X(awaited_by_discard, "asyncio.futures", "future_discard_from_awaited_by", 0)                                      \
    X(SocketTransport, "asyncio.selector_events", "_SelectorSocketTransport", 1)                                       \
    X(socket, "socket", "socket", 1)                                                                                   \
    X(getsignal, "_signal", "getsignal", 1)                                                                            \
    X(signal, "_signal", "signal", 1)                                                                                  \
    X(default_int_handler, "_signal", "default_int_handler", 1)                                                        \
    X(Runner, "asyncio.runners", "Runner", 0)                                                                          \
    X(deque, "collections", "deque", 1)
/* clang-format on */

/* objects of the Python side, handed over by _core._configure(): member h_NAME */
/* clang-format off */
#define AN_HOOKS(X)                                                                                                    \
    X(callback_error) X(slow_callback) X(errors) X(runs_in_asyncio) X(stop_owner) X(frames) X(amid_finalizer) X(cancelled)
/* clang-format on */

/* other strong members: types, cached values */
/* clang-format off */
#define AN_OBJECTS(X)                                                                                                  \
    X(type_foreign_callback) X(type_foreign_method) X(type_batch)                                                      \
    X(type_handle) X(type_timer) X(type_loop) X(type_thread) X(type_block) X(type_bound)                            \
    X(stock_call_soon) X(stock_call_at) X(stock_call_later) X(stock_call_soon_threadsafe) X(stock_create_task)         \
    X(stock_run_once) X(stock_time) X(stock_timer_handle_cancelled) X(stock_process_events) X(stock_write_to_self)     \
    X(stock_check_closed) X(stock__call_soon) X(stock_get_debug) X(stock_read_from_self) X(empty_tuple) X(zero)  \
    X(sigint_handler) X(kw_context) X(context_alias) X(kw_loop) X(kw_task_name) X(kw_task_context)  \
    X(eager_code) X(task_set_name) X(modules) X(meta_path) X(imports_finder) X(imports_look)                            \
    X(future_kwargs) X(hub_main) X(hub_start) X(tramp_main)  \
    X(type_fiber) X(greenlet_throw) X(greenlet_context) X(greenlet_parent) X(greenlet_settrace)              \
    X(greenlet_gettrace) X(foreign_tracer)                                                                             \
    X(o_data_received_ready) X(o_transport_write) X(o_max_size) X(stock_get_loop) X(stock_select) X(stock_run)
/* clang-format on */

/* How create_task() of this version's asyncio calls a task factory (_engine/probe.py finds out). NAMED: factory(loop, coro)
 * with context= if one was given, then the task's set_name() if a name was; ALWAYS_NAMED: the same, but set_name(None), too;
 * HANDED_ON: factory(loop, coro, **kwargs). UNKNOWN: its own code is called. */
typedef enum { AN_FACTORY_UNKNOWN, AN_FACTORY_NAMED, AN_FACTORY_ALWAYS_NAMED, AN_FACTORY_HANDED_ON } an_factory_style;

typedef struct an_state {
#define X(n) PyObject *s_##n;
    AN_NAMES(X)
#undef X
#define X(n, m, a, needed) PyObject *o_##n;
    AN_IMPORTS(X)
#undef X
#define X(n) PyObject *h_##n;
    AN_HOOKS(X)
#undef X
#define X(n) PyObject *n;
    AN_OBJECTS(X)
#undef X

    /* the loop that was looked up last, and its record; both borrowed, checked by the record's weak reference */
    PyObject *cache_loop;
    struct an_loop *cache_rec;

    int applied;          /* the class attributes are ours */
    int interrupted;      /* Ctrl-C has cancelled a run of the main thread, which is not over yet */
    int factory_style;    /* an_factory_style */
    Py_ssize_t n_modules; /* imports.h: -1 unknown */

    /* live objects, for leak tests */
    Py_ssize_t n_records, n_blocks, n_hubs, n_threads, n_handles;
    long long n_switches, n_inplace, n_suspended;
} an_state;

extern an_state *an_st;

int an_state_init(PyObject *module, an_state *st); /* 0 | -1+exc; runs Python */
int an_state_traverse(PyObject *module, visitproc visit, void *arg);
int an_state_clear(PyObject *module);

#endif
