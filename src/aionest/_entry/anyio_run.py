"""``anyio.run()`` while a loop runs in the same thread: a new task of that loop, as for ``asyncio.run()``.

Contract
  * Only the asyncio backend inside a running asyncio loop that aionest can suspend into, and where no other library (trio,
    for one) is what runs at the moment. Everything else is anyio's own function, its refusals included.
  * What anyio gives the task of a run (a name, a state, the context variable of sniffio) this one gets, too.
  * ``loop_factory`` makes a loop for this run alone, which is a guest of the running one; ``use_uvloop`` is about the loop to
    be made, and none is.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from asyncio import events
from typing import Any

from .._engine.checks import supported
from .._scopes import anyio_hook, anyio_probe
from .run import asyncio_run


def replacements(event_loop: Any) -> dict[tuple[Any, str], Any]:
    """What takes the place of anyio's functions, given the module that ``run()`` is in."""
    stock = getattr(event_loop, "run", None)
    package = sys.modules.get("anyio")
    if stock is None or package is None or not callable(getattr(event_loop, "get_async_backend", None)):
        return {}

    @functools.wraps(stock)
    def run(func: Any, *args: Any, backend: str = "asyncio", backend_options: dict[str, Any] | None = None) -> Any:
        running = events._get_running_loop()
        known = _backend_to_nest_in(event_loop, running) if running is not None and backend == "asyncio" else None
        if known is not None:
            return _run_nested(event_loop, known, func, args, backend_options or {})
        return stock(func, *args, backend=backend, backend_options=backend_options)

    found: dict[tuple[Any, str], Any] = {(event_loop, "run"): run}
    if vars(package).get("run") is stock:  # not there yet where the package looks its names up on use
        found[package, "run"] = run
    return found


def _backend_to_nest_in(event_loop: Any, running: Any) -> Any:
    """The module of anyio's asyncio backend; None where anyio's own function is to be called."""
    if not anyio_hook.is_watching() or not supported(running):
        return None
    if _library(event_loop) not in (None, "asyncio"):
        return None
    try:
        event_loop.get_async_backend("asyncio")  # imports it, as run() does
    except ImportError:
        return None
    backend = sys.modules.get(anyio_hook.BACKEND)
    known = backend is not None and (anyio_hook.is_installed() or not anyio_probe.unexpected(backend))
    return backend if known else None


def _library(event_loop: Any) -> Any:
    """What anyio, or sniffio before anyio 4.12, takes for the library that runs here."""
    sniffio: Any = getattr(event_loop, "sniffio", None)
    try:
        return (getattr(event_loop, "current_async_library", None) or sniffio.current_async_library)()
    except Exception:
        return None  # a callback, whose context does not say


def _run_nested(event_loop: Any, backend: Any, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    @functools.wraps(func)
    async def wrapper() -> Any:
        task: Any = asyncio.current_task()
        task.set_name(_name(backend, func))
        backend._task_states[task] = backend.TaskState(None, None)
        try:
            return await func(*args)
        finally:
            del backend._task_states[task]

    variable: Any = getattr(getattr(event_loop, "sniffio", None), "current_async_library_cvar", None)
    token = variable.set("asyncio") if variable is not None and variable.get(None) is None else None
    try:
        return asyncio_run(wrapper(), debug=options.get("debug"), loop_factory=options.get("loop_factory"))
    finally:
        if token is not None:
            variable.reset(token)


def _name(backend: Any, func: Any) -> str:
    name = getattr(backend, "get_callable_name", None)
    return str(name(func)) if name is not None else getattr(func, "__qualname__", repr(func))
