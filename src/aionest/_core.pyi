"""Types of the C engine. Everything here is internal: the public names are those of ``aionest``."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from types import ModuleType
from typing import Any, SupportsIndex, TypeVar, final

_T = TypeVar("_T")

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

def block_on(future: asyncio.Future[_T], /) -> _T:
    """Suspend the caller until ``future`` is done and give its result."""

def await_(awaitable: Awaitable[_T], /) -> _T:
    """Await in the caller's own task, from synchronous code."""

def carry(loop: asyncio.AbstractEventLoop, /) -> None:
    """Run ``loop`` on hubs until it stops."""

def end_suspended(loop: asyncio.AbstractEventLoop | None, message: str, /) -> int:
    """End this thread's runs suspended on ``loop`` (None: any) with RuntimeError; how many could not be ended."""

def set_guest(loop: asyncio.AbstractEventLoop, guest: Any, /) -> None:
    """Name the object that pumps ``loop`` inside another one, or None."""

def set_eventfd(loop: asyncio.AbstractEventLoop, fd: int, /) -> None:
    """Wake ``loop`` up by this descriptor, which its epoll object watches edge-triggered; -1: by its pipe again, -2: as -1, in a forked child."""

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
def _configure(
    callback_error: Callable[[Any, BaseException], None],
    slow_callback: Callable[[Any, float], None],
    errors: ModuleType,
) -> None: ...
def _check() -> None: ...
def _counters() -> dict[str, int]: ...
