"""anyio.run() inside a running loop is a nested run, as asyncio.run() is; everywhere else it is anyio's own."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import logging
import sys
import types

import pytest
from support import eventually_async

import aionest
from aionest import _core

anyio = pytest.importorskip("anyio")

VAR = contextvars.ContextVar("VAR", default="unset")


@pytest.fixture(params=["asyncio.run", "anyio.run", "Runner", "run_until_complete"])
def outer(request, applied):
    """Run a coroutine function at top level, by each way in."""

    def run(function):
        if request.param == "asyncio.run":
            return asyncio.run(function())
        if request.param == "anyio.run":
            return anyio.run(function)
        if request.param == "Runner":
            runner = pytest.importorskip("asyncio").__dict__.get("Runner")
            if runner is None:
                pytest.skip("Runner came with 3.11")
            with runner() as one:
                return one.run(function())
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(function())
        finally:
            loop.close()

    return run


async def echo(x, *more):
    await anyio.sleep(0)
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)
    return (x, *more)


def test_nested(outer):
    async def main():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        result = anyio.run(echo, 1, 2)
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
        return result, await echo(3)

    assert outer(main) == ((1, 2), (3,))


def test_on_the_running_loop_as_a_task_with_the_name_of_the_function(outer):
    async def inner():
        return asyncio.get_running_loop(), asyncio.current_task().get_name(), anyio.get_current_task().name

    async def main():
        loop, name, shown = anyio.run(inner)
        assert loop is asyncio.get_running_loop()
        return name, shown

    name, shown = outer(main)
    assert name == shown and name.endswith("inner")


def test_deeper_and_several_at_once(outer):
    async def deep(n):
        return 0 if n == 0 else 1 + anyio.run(deep, n - 1)

    order, turns = [], {}

    async def leaf(n):
        if n == 2:
            turns[1].set()  # all three have begun
        await turns[n].wait()
        order.append(n)
        if n:
            turns[{1: 2, 2: 0}[n]].set()

    def several(n):
        anyio.run(leaf, n)

    async def one(n):
        several(n)

    async def main():
        depth = anyio.run(deep, 20)
        turns.update({n: anyio.Event() for n in range(3)})
        async with anyio.create_task_group() as group:
            for n in range(3):
                group.start_soon(one, n)
        return depth

    assert outer(main) == 20
    assert order == [1, 2, 0]


def test_from_a_callback_and_with_a_partial(outer):
    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon(lambda: done.set_result(anyio.run(functools.partial(echo, "from"), "callback")))
        return await done

    assert outer(main) == ("from", "callback")


def test_exceptions_and_cancellation(outer):
    async def fails():
        raise LookupError("inside")

    async def main():
        with pytest.raises(LookupError, match="inside"):
            anyio.run(fails)
        with anyio.move_on_after(0.01) as scope:
            anyio.run(anyio.sleep_forever)
        return scope.cancelled_caught if hasattr(scope, "cancelled_caught") else scope.cancel_called

    assert outer(main)


def test_context_variables_go_in_and_stay_in(outer):
    async def inner():
        seen = VAR.get()
        VAR.set("inner")
        return seen

    async def main():
        VAR.set("outer")
        return anyio.run(inner), VAR.get()

    assert outer(main) == ("outer", "outer")


def test_debug_is_for_the_time_of_the_run(outer, caplog):
    async def inner():
        return asyncio.get_running_loop().get_debug()

    async def main():
        with caplog.at_level(logging.CRITICAL, "asyncio"):
            before = asyncio.get_running_loop().get_debug()
            seen = [anyio.run(inner, backend_options={"debug": value}) for value in (True, False)]
        assert asyncio.get_running_loop().get_debug() == before
        return seen

    assert outer(main) == [True, False]


def test_a_loop_factory_makes_a_loop_for_this_run(outer):
    made = []

    def factory():
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    async def inner():
        await anyio.sleep(0.001)
        return asyncio.get_running_loop()

    async def main():
        loop = asyncio.get_running_loop()
        used = anyio.run(inner, backend_options={"loop_factory": factory})
        assert asyncio.get_running_loop() is loop is not used
        return [used] == made and used.is_closed()

    assert outer(main)


def test_use_uvloop_is_about_loops_to_be_made(outer):
    async def main():
        return anyio.run(echo, 1, backend_options={"use_uvloop": True})

    assert outer(main) == (1,)


def test_a_function_that_takes_keywords_only(outer):
    async def main():
        return anyio.run(echo, 1, backend="asyncio", backend_options=None)

    assert outer(main) == (1,)


def test_no_coroutine_function(outer):
    async def main():
        with pytest.raises(TypeError):
            anyio.run(lambda: 1)

    outer(main)


def test_at_top_level_it_is_anyios_own(applied):
    loops = []

    async def main():
        loops.append(asyncio.get_running_loop())

    anyio.run(main)
    anyio.run(main, backend_options={"debug": True})
    assert all(loop.is_closed() for loop in loops) and loops[0] is not loops[1]


def test_trio_is_refused_inside_a_loop_and_untouched_outside(applied):
    async def main():
        with pytest.raises(RuntimeError, match="Already running asyncio"):
            anyio.run(echo, 1, backend="trio")

    asyncio.run(main())
    pytest.importorskip("trio")

    async def inside_trio():
        with pytest.raises(RuntimeError, match="Already running trio"):
            anyio.run(echo, 1)
        return await echo("trio")

    assert anyio.run(inside_trio, backend="trio") == ("trio",)


def test_unknown_backends_are_refused_by_anyio(applied):
    async def main():
        anyio.run(echo, 1, backend="nonsense")

    with pytest.raises((LookupError, RuntimeError)):
        asyncio.run(main())
    with pytest.raises(LookupError):
        anyio.run(echo, 1, backend="nonsense")


def test_another_library_that_runs_on_the_loop_is_respected(applied, monkeypatch):
    """Trio as a guest of asyncio, say: there is a running loop, and yet it is trio that runs."""
    event_loop = sys.modules["anyio._core._eventloop"]

    async def main():
        if hasattr(event_loop, "current_async_library"):
            monkeypatch.setattr(event_loop, "current_async_library", lambda: "trio")
        else:
            monkeypatch.setattr("sniffio.current_async_library", lambda: "trio")
        with pytest.raises(RuntimeError, match="Already running trio"):
            anyio.run(echo, 1)

    asyncio.run(main())


def test_inside_uvloop_it_nests_too(child):
    pytest.importorskip("uvloop")
    r = child(
        """
        import anyio, uvloop
        import aionest
        aionest.apply()

        async def echo(x):
            await anyio.sleep(0.01)
            return x

        async def main():
            await anyio.sleep(0)
            print(anyio.run(echo, 1))

        uvloop.new_event_loop().run_until_complete(main())
        """,
        dev=False,
    )
    assert (r.stdout, r.stderr) == ("1\n", "")


def test_a_version_that_is_not_known_keeps_its_own_rules(applied, monkeypatch):
    from aionest._entry import anyio_run
    from aionest._scopes import anyio_hook

    async def main():
        await echo(1)
        monkeypatch.setattr(anyio_hook, "is_installed", lambda: False)
        monkeypatch.setattr(anyio_run.anyio_probe, "unexpected", lambda backend: ["something"])
        with pytest.raises(RuntimeError, match="Already running asyncio"):
            anyio.run(echo, 1)

    asyncio.run(main())


def test_what_was_imported_from_it_before_unapply_is_anyios_own_again():
    aionest.apply()
    run = importlib.import_module("anyio").run
    aionest.unapply()

    async def main():
        with pytest.raises(RuntimeError, match="Already running asyncio"):
            run(echo, 1)
        return await echo(2)

    assert run(main) == (2,)
    event_loop = sys.modules["anyio._core._eventloop"]
    assert event_loop.run.__module__.startswith("anyio") and isinstance(event_loop.run, types.FunctionType)
    assert "replacements" not in event_loop.run.__code__.co_qualname if sys.version_info >= (3, 11) else True


def test_a_server_that_runs_itself_in_a_notebook_cell(applied):
    """As FastMCP.run() does: synchronous, anyio.run() inside. The cell is a callback or a task of the kernel's loop."""

    class Server:
        async def serve(self):
            await anyio.sleep(0.001)
            return "served"

        def run(self):
            return anyio.run(self.serve)

    async def kernel():
        cells = []

        async def cell():
            cells.append(Server().run())

        await asyncio.create_task(cell())
        asyncio.get_running_loop().call_soon(lambda: cells.append(Server().run()))
        await eventually_async(lambda: len(cells) == 2)
        return cells

    assert asyncio.run(kernel()) == ["served", "served"]
    assert _core._counters()["suspended"] == 0
