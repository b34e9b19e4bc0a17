"""The short cuts of a call: the quick check of arguments, the way over from another loop, sending by the caller's task."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time

import pytest
from servers import SERVER
from support import eventually, eventually_async

pytest.importorskip("mcp")

from aionest import Portal, PortalClosed
from aionest.mcp import ArgumentsError, CallTimeout, Tool, ToolsLoader
from aionest.mcp.tools import tool as tool_module

ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}

KINDS = ["string", "integer", "number", "boolean", "null", "array", ["string", "null"]]
VALUES = ["", "5", 0, 5, -1.5, 2.0, float("nan"), True, False, None, [], ["a"], {}, {"a": 1}]


def fits(tool, arguments):
    try:
        tool.validate(arguments)
    except ArgumentsError:
        return False
    return True


@pytest.mark.parametrize(
    "more", [{}, {"additionalProperties": False}, {"additionalProperties": True}, {"minProperties": 2}]
)
@pytest.mark.parametrize("required", [[], ["a"], ["a", "b"]])
def test_the_quick_check_agrees_with_the_validator(more, required, monkeypatch):
    for kind in KINDS:
        schema = {
            "type": "object",
            "properties": {"a": {"type": kind, "title": "A"}, "b": {}},
            "required": required,
            **more,
        }
        other = {**schema, "properties": {"a": {"type": kind}, "b": {"type": "string", "description": "B"}}}
        for one in (schema, other):
            quick, slow = Tool("t", input_schema=one), Tool("t", input_schema=one)
            with monkeypatch.context() as patch:
                patch.setattr(tool_module, "quick_check", lambda schema: None)
                fits(slow, {})  # what checks is made at the first call
            for value in VALUES:
                all_given = ({}, {"a": value}, {"a": value, "b": "x"}, {"c": value})
                assert [fits(quick, given) for given in all_given] == [fits(slow, given) for given in all_given], (
                    one,
                    value,
                )


def test_call_async_on_another_loop(make_loader):
    loader = make_loader(ONE)

    async def main():
        assert (await loader.call_async("one.echo", {"text": "hi"})).text == "hi"
        with pytest.raises(CallTimeout):
            await loader.call_async("one.sleep", {"seconds": 5}, timeout=0.1)
        task = asyncio.ensure_future(loader.call_async("one.sleep", {"seconds": 5}))
        await asyncio.sleep(0.1)
        begin = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begin < 1
        await eventually_async(lambda: not loader.status["one"].open_calls)
        return await asyncio.gather(*(loader.call_async("one.add", {"a": i}) for i in range(50)))

    assert [r.structured["sum"] for r in asyncio.run(main())] == list(range(1, 51))


def test_the_portal_is_closed_under_a_call_from_another_loop():
    portal = Portal()
    loader = ToolsLoader(config=ONE, portal=portal)
    loader.load()

    async def main():
        threading.Timer(0.2, portal.close).start()
        with pytest.raises(Exception) as told:
            await asyncio.wait_for(loader.call_async("one.sleep", {"seconds": 30}), 20)
        assert not isinstance(told.value, (asyncio.TimeoutError, asyncio.CancelledError))
        portal.close()
        with pytest.raises(PortalClosed):
            await loader.call_async("one.echo", {"text": "hi"})

    asyncio.run(main())


def test_long_messages_at_once_arrive_whole(make_loader):
    loader = make_loader(ONE)
    texts = [str(i) * 200_000 for i in range(8)]  # each is more than a pipe holds

    async def main():
        return await asyncio.gather(*(loader.call_async("one.echo", {"text": text}) for text in texts))

    assert [result.text for result in asyncio.run(main())] == texts


@pytest.mark.parametrize("where", ["thread", "portal", "other loop"])
def test_a_call_leaves_nothing_for_the_garbage_collector(make_loader, where):
    loader = make_loader(ONE)

    async def several(n):
        for _ in range(n):
            await loader.call_async("one.echo", {"text": "hi"})

    def calls(n):
        if where == "portal":
            loader.portal.call(several, n)
        elif where == "other loop":
            asyncio.run(several(n))
        else:
            for _ in range(n):
                loader.call("one.echo", {"text": "hi"})

    def garbage(n):
        gc.collect()
        gc.disable()
        try:
            calls(n)
            return gc.collect()
        finally:
            gc.enable()

    garbage(5)
    assert garbage(60) - garbage(10) < 25


def test_a_call_that_nobody_waits_for_at_once(make_loader):
    loader = make_loader(ONE)
    future = loader.submit("one.echo", {"text": "hi"})
    assert future.result(60).text == "hi"
    with pytest.raises(ArgumentsError):
        loader.submit("one.echo", {"nothing": 1})
    slow = loader.submit("one.sleep", {"seconds": 60})
    eventually(lambda: loader.status["one"].open_calls)
    assert slow.cancel()
    eventually(lambda: not loader.status["one"].open_calls)
    assert loader.call("one.echo", {"text": "on"}).text == "on"
