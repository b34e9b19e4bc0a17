"""Types of the C engine. Everything here is internal: the public names are those of ``aionest``."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from types import CodeType, ModuleType
from typing import Any, SupportsIndex, TypeVar, final

_T = TypeVar("_T")

LINUX_PATHS: bool
"""Epoll, eventfd and sockets have C paths of their own in this build; without them selectors are asked by ``select()``."""

@final
class Handle(asyncio.Handle):
    """``asyncio.Handle`` made by the engine; it lives in the slots of the base class."""

    def cancel(self) -> None: ...

@final
class TimerHandle(asyncio.TimerHandle):
    """``asyncio.TimerHandle`` made by the engine."""

    def cancel(self) -> None: ...

@final
class ReadyQueue:
    """``loop._ready``: the handles that a loop has to run, with the methods of ``collections.deque`` that others use."""

    __hash__ = None  # type: ignore[assignment]

    def append(self, item: Any, /) -> None: ...
    def appendleft(self, item: Any, /) -> None: ...
    def popleft(self) -> Any: ...
    def pop(self) -> Any: ...
    def clear(self) -> None: ...
    def remove(self, item: Any, /) -> None: ...
    def count(self, item: Any, /) -> int: ...
    def extendleft(self, items: Iterable[Any], /) -> None: ...
    def index(self, item: Any, start: int = 0, stop: int = 9223372036854775807, /) -> int: ...
    def insert(self, index: int, item: Any, /) -> None: ...
    def reverse(self) -> None: ...
    def rotate(self, n: int = 1, /) -> None: ...
    def __reversed__(self) -> Iterator[Any]: ...
    def extend(self, items: Iterable[Any], /) -> None: ...
    def copy(self) -> Any: ...
    def __copy__(self) -> Any: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __contains__(self, item: object, /) -> bool: ...
    def __getitem__(self, index: SupportsIndex, /) -> Any: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __lt__(self, other: Any, /) -> bool: ...
    def __le__(self, other: Any, /) -> bool: ...
    def __gt__(self, other: Any, /) -> bool: ...
    def __ge__(self, other: Any, /) -> bool: ...

@final
class Gate:
    """A lock that is held from the start and opened once. Calling it opens it."""

    def __new__(cls) -> Gate: ...
    def __call__(self, *args: Any) -> None: ...
    def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool: ...
    def release(self) -> None: ...
    def run(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], work: Any, timeout: float | None, /
    ) -> bool | None: ...

def run_nested(main: Coroutine[Any, Any, _T], /) -> _T:
    """Run a coroutine as a new task of the running loop; NotImplemented when no loop runs here."""

def wait_nested(future: Any, /) -> Any: ...
def block_on(future: asyncio.Future[_T], /) -> _T:
    """Suspend the caller until ``future`` is done and give its result."""

def gather_known(
    outer: Any, children: list[Any], loop: asyncio.AbstractEventLoop, code: CodeType, index: int, /
) -> bool:
    """Tell the callback of gather()'s children, a function of ``code``, of its future: its variable number ``index``. True if it
    may have been called before: other tasks have run since the loop's last turn, or it was not found and may be queued.
    """

def wake_waiters(future: Any, /) -> None:
    """Let this thread's runs go on that sleep until ``future`` is done, though it has not called them back."""

def await_(awaitable: Awaitable[_T], /) -> _T:
    """Await in the caller's own task, from synchronous code."""

def carry(loop: asyncio.AbstractEventLoop, /) -> None:
    """Run ``loop`` on hubs until it stops."""

def end_suspended(loop: asyncio.AbstractEventLoop | None, message: str, /) -> int:
    """End this thread's runs suspended on ``loop`` (None: any) with RuntimeError; how many could not be ended."""

def set_guest(loop: asyncio.AbstractEventLoop, guest: Any, outer: asyncio.AbstractEventLoop | None, /) -> None:
    """Name the object that pumps ``loop`` inside ``outer``, or None and None."""

def set_eventfd(loop: asyncio.AbstractEventLoop, fd: int, /) -> None:
    """Wake ``loop`` up by this descriptor, which its epoll object watches edge-triggered; -1: by its pipe again, -2: as -1, in a forked child."""

def is_carried(loop: Any, /) -> bool: ...
def is_on_greenlet() -> bool: ...
def sleeper_below(loop: Any, /) -> asyncio.Task[Any] | None: ...
def stop_done(loop: Any, /) -> None: ...
def set_interrupted(yes: bool, /) -> None: ...
def foreign_method(stock: Callable[..., Any], index: int, takes_context: bool, queues: bool, /) -> Callable[..., Any]:
    """The method ``stock`` of a loop's class, with its argument number ``index`` run on a stack that can be suspended. ``queues``: it is
    the call_soon of a loop that calls back in the order of a deque."""

def foreign_look_again(loop: asyncio.AbstractEventLoop, /) -> None:
    """Debug mode of a loop that is not ours was switched on or off."""

def foreign_callback(callback: Callable[..., Any], /) -> Callable[..., Any]:
    """``callback``, run on a stack that can be suspended when a loop that is not asyncio's own calls it."""

def foreign_pending(loop: asyncio.AbstractEventLoop, /) -> list[tuple[Any, Any]]:
    """(callback, context) of each timer that a loop which is not ours has, and of each callback that it was given since the present
    one began."""

def foreign_begin(
    loop: asyncio.AbstractEventLoop, on_begin: Callable[[], object] | None, /
) -> tuple[int, int, int, int]:
    """A loop that is not asyncio's own is about to run here; what foreign_end() wants. on_begin is called before its first callback."""

def keep_for_ever(object: object, /) -> None:
    """It is not freed, not even at exit."""

def foreign_end(loop: asyncio.AbstractEventLoop, before: tuple[int, int, int, int], /) -> int:
    """It does not run any more; how many callbacks it has taken or called meanwhile."""

def stop_waiters(loop: asyncio.AbstractEventLoop, /) -> list[asyncio.Future[None]]:
    """The futures of nested run_forever calls, oldest first."""

def loop_info(loop: object, /) -> dict[str, int] | None:
    """What the engine knows of ``loop``, or None."""

def loop_descriptors() -> dict[str, Any]:
    """The attributes that aionest puts on ``asyncio.BaseEventLoop``, by name."""

def other_descriptors() -> list[tuple[type[Any], dict[str, Any]]]:
    """What it puts on other classes of asyncio."""

def task_set_add(weakset: Any, /) -> Callable[[Any], None] | None:
    """``WeakSet.add`` for this set, without Python frames; None if it cannot be done."""

def refresh(loop: asyncio.AbstractEventLoop, /) -> None:
    """Look again at what ``loop`` overrides."""

def _records() -> list[asyncio.AbstractEventLoop]: ...
def _put_back(loop: asyncio.AbstractEventLoop, /) -> None: ...
def _probe(waiting: Any, future: Any, cancelled: Any, fresh: Any, /) -> tuple[int, int, int]: ...
def _watch_modules(look: Callable[[], bool] = ..., finder: Any = ..., meta_path: list[Any] = ..., /) -> None: ...
def _task_factories(style: int, eager_code: Any, /) -> None: ...
def _configure(
    callback_error: Callable[[Any, BaseException], None],
    slow_callback: Callable[[Any, float], None],
    errors: ModuleType,
    runs_in_asyncio: Callable[[Any], bool],
    stop_owner: Callable[[list[Any]], bool],
    frames: Callable[[Callable[[], Any]], None],
    amid_finalizer: Callable[..., bool],
    cancelled: Callable[[Any, Any], None],
) -> None: ...
def check_driver(loop: Any, /) -> None: ...
def _check() -> None: ...
def _counters() -> dict[str, int]: ...
