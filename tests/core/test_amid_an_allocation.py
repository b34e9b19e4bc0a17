"""Garbage is found amid an allocation, and its finalizer changes what was just being read.

Before 3.12 CPython collects garbage at any allocation, in C code too. Some of asyncio's own reads a future's list of callbacks, or a
context, before one and uses it after that, so the engine calls it with the collector off.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import gc
import inspect
import sys
import types
from unittest import mock

import pytest

import aionest
from aionest._engine import closing

THRESHOLDS = range(1, 40)  # more objects than any of the programs makes before it is done
variables = [contextvars.ContextVar(f"variable {n}") for n in range(20)]


class Garbage:
    def __init__(self, does):
        self.does, self.itself = does, self

    def __del__(self):
        self.does()


@contextlib.contextmanager
def found_after(threshold, does):
    """Garbage that does this is found when so many objects have been made; at the end at the latest."""
    before = gc.get_threshold()
    gc.collect()
    gc.disable()
    Garbage(does)
    gc.set_threshold(threshold)
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.collect()


def set_result(future):
    if not future.done():
        future.set_result(1)


@pytest.mark.parametrize("callbacks", [1, 2, 3])
def test_a_future_that_is_done_loses_its_callbacks_while_it_calls_them(applied, callbacks):
    async def main(threshold):
        future = asyncio.get_running_loop().create_future()
        called = []
        for n in range(callbacks):  # the future alone keeps them
            future.add_done_callback(lambda _, n=n: called.append(n), context=contextvars.copy_context())
        with found_after(threshold, lambda: future.remove_done_callback(mock.ANY)):
            future.set_result(None)
        await asyncio.sleep(0)
        assert called == list(range(len(called)))

    for threshold in THRESHOLDS:
        asyncio.run(main(threshold))


def test_a_context_that_is_copied_gets_other_values(applied):
    async def main(threshold):
        loop = asyncio.get_running_loop()
        handles = []

        def set_them():
            for variable in variables:
                variable.set(object())

        for _ in range(20):
            set_them()
            with found_after(threshold, set_them):
                handles += [loop.call_soon(int) for _ in range(10)]
        await asyncio.sleep(0)

    for threshold in THRESHOLDS:
        asyncio.run(main(threshold))


def test_a_child_is_done_while_gather_looks_for_its_callbacks(applied):
    async def main(threshold):
        loop = asyncio.get_running_loop()
        children = [loop.create_future() for _ in range(3)]
        loop.call_later(0.001, lambda: [set_result(child) for child in children])
        with found_after(threshold, lambda: set_result(children[-1])):
            together = asyncio.gather(*children)
        assert await asyncio.wait_for(together, 20) == [1] * 3

    for threshold in THRESHOLDS:
        asyncio.run(main(threshold))


def test_a_future_is_done_as_a_run_begins_to_wait_for_it(applied):
    async def main(threshold):
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.add_done_callback(lambda _: None)
        loop.call_later(0.001, set_result, future)
        lost = loop.call_later(20, asyncio.current_task().cancel)
        with found_after(threshold, lambda: set_result(future)):
            aionest.block_on(future)
        lost.cancel()

    for threshold in THRESHOLDS:
        asyncio.run(main(threshold))


def test_a_future_is_done_as_a_run_that_waits_for_it_is_ended(applied):
    def program(threshold):
        loop = asyncio.new_event_loop()
        future = loop.create_future()
        future.add_done_callback(lambda _: None)

        def nests():
            with contextlib.suppress(aionest.NestedRunError):
                aionest.block_on(future)

        loop.call_soon(nests)
        loop.call_soon(loop.stop)
        with found_after(threshold, lambda: set_result(future)):
            loop.run_forever()
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    for threshold in THRESHOLDS:
        program(threshold)


def test_hooks_for_generators_are_set_anew_while_they_are_read(applied):
    before = sys.get_asyncgen_hooks()
    try:
        for threshold in range(1, 10):
            sys.set_asyncgen_hooks(lambda _: "firstiter", lambda _: "finalizer")
            with found_after(threshold, lambda: sys.set_asyncgen_hooks(None, None)):
                read = [closing.agen_hooks() for _ in range(10)]
            assert {tuple(hook and hook(None) for hook in hooks) for hooks in read} <= {
                ("firstiter", "finalizer"),
                (None, None),
            }
    finally:
        sys.set_asyncgen_hooks(*before)


def test_call_soon_looks_like_any_other_method(applied):
    method = asyncio.BaseEventLoop.call_soon
    assert isinstance(method, types.MethodDescriptorType)
    assert method is vars(asyncio.BaseEventLoop)["call_soon"]
    assert repr(method) == "<method 'call_soon' of 'BaseEventLoop' objects>"
    assert method.__name__ == "call_soon"
    assert copy.deepcopy(method) == method
    loop = asyncio.new_event_loop()
    called = []
    try:
        assert str(inspect.signature(loop.call_soon)) == "(callback, *args, context=None)"
        assert isinstance(loop.call_soon, types.BuiltinMethodType)
        assert super(asyncio.SelectorEventLoop, loop).call_soon == loop.call_soon
        method(loop, called.append, 1)
        with pytest.raises(TypeError, match="'BaseEventLoop'"):
            method(object(), called.append, 2)
        loop.call_soon(loop.stop)
        loop.run_forever()
    finally:
        loop.close()
    assert called == [1]
