"""Portal.enter: resources that synchronous code keeps open."""

import asyncio
import gc
import itertools
import threading
import warnings
from contextlib import asynccontextmanager

import pytest
from support import timeouts_until

from aionest import Portal
from aionest._errors import PortalClosed, ResourceLost

GUARD = 60


@asynccontextmanager
async def resource(log, name="r", fail_after=None):
    """Holds a task group, so it must be left by the task that entered it."""
    anyio = pytest.importorskip("anyio")
    task = asyncio.current_task()

    async def fail():
        await fail_after.wait()
        raise LookupError(f"{name} failed")

    async with anyio.create_task_group() as group:
        group.start_soon(fail if fail_after else anyio.sleep_forever)
        log.append(("in", name))
        try:
            yield name.upper()
        finally:
            assert asyncio.current_task() is task
            log.append(("out", name))
            group.cancel_scope.cancel()


@asynccontextmanager
async def plain(log):
    try:
        yield
    finally:
        log.append("out")


async def use(x):
    await asyncio.sleep(0)
    return x


def test_enter_gives_the_value_and_close_leaves(portal):
    log = []
    held = portal.enter(resource(log))
    assert held.value == "R"
    assert held.is_open
    assert held.lost is None
    assert held.call(use, 3) == 3
    assert log == [("in", "r")]
    assert held.close() is False
    assert log == [("in", "r"), ("out", "r")]
    assert not held.is_open
    assert held.close() is False
    assert "gone" in repr(held)


def test_with_closes_and_hands_the_exception_to_the_manager(portal):
    log, seen = [], []
    with portal.enter(resource(log)) as value:
        assert value == "R"
    assert log[-1] == ("out", "r")

    @asynccontextmanager
    async def suppressing():
        try:
            yield
        except LookupError as exc:
            seen.append(exc)

    error = LookupError("inside")
    with portal.enter(suppressing()):
        raise error
    assert seen == [error]
    with pytest.raises(KeyError), portal.enter(plain(log)):
        raise KeyError
    assert log[-1] == "out"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_resources_are_closed_in_any_order_from_different_threads(portal, start, order):
    log = []
    helds = [start(portal.enter, resource(log, f"r{n}")).result() for n in range(3)]
    open_ = set(range(3))
    for n in order:
        start(helds[n].close).result()
        open_.discard(n)
        assert log[-1] == ("out", f"r{n}")
        for other in open_:
            assert helds[other].call(use, other) == other


def test_errors_of_entering_and_leaving_come_to_who_asked(portal):
    @asynccontextmanager
    async def bad_start():
        raise LookupError("start")
        yield

    @asynccontextmanager
    async def bad_end():
        yield
        raise LookupError("end")

    with pytest.raises(LookupError, match="start"):
        portal.enter(bad_start())
    held = portal.enter(bad_end())
    with pytest.raises(LookupError, match="end"):
        held.close()
    assert held.close() is False
    with pytest.raises(TypeError, match="asynchronous context manager, not"):
        portal.enter(warnings.catch_warnings())


def test_entering_that_takes_too_long_is_undone(portal):
    log = []

    @asynccontextmanager
    async def slow():
        try:
            await asyncio.sleep(GUARD)
            yield
        finally:
            log.append("undone")

    with pytest.raises(TimeoutError):
        portal.enter(slow(), timeout=0.5)
    assert log == ["undone"]


def test_leaving_that_takes_too_long_is_cancelled(portal):
    begun, log = [], []

    @asynccontextmanager
    async def slow():
        yield
        begun.append(True)
        try:
            await asyncio.sleep(GUARD)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    held = portal.enter(slow())
    for timeout in timeouts_until(begun):
        with pytest.raises(TimeoutError):
            held.close(timeout=timeout)
    assert log == ["cancelled"]
    assert held.close() is False


def test_a_failed_resource_is_noticed_at_once_and_disturbs_nobody(portal, start):
    log, told = [], threading.Event()
    trigger = portal.call(asyncio.Event)
    good, bad = portal.enter(resource(log, "good")), portal.enter(resource(log, "bad", trigger))
    notices = []
    bad.on_lost(lambda exc: (notices.append(exc), told.set()))
    waiting = start(lambda: bad.call(asyncio.sleep, GUARD))
    stranger = portal.submit(asyncio.sleep, 0.2, "undisturbed")
    portal.call(trigger.set)
    with pytest.raises(ResourceLost, match="resource is lost") as info:
        waiting.result()
    causes = info.value.__cause__.exceptions
    assert [type(cause) for cause in causes] == [LookupError]
    assert told.wait(GUARD)
    assert isinstance(bad.lost, ResourceLost)
    assert not bad.is_open
    with pytest.raises(ResourceLost):
        bad.call(use, 1)
    assert good.call(use, 1) == 1
    assert stranger.result(GUARD) == "undisturbed"
    assert bad.close() is False  # somebody was told
    good.close()
    assert len(notices) == 1


def test_a_loss_that_nobody_was_told_of_comes_out_of_close(portal):
    trigger = portal.call(asyncio.Event)
    held = portal.enter(resource([], "r", trigger))
    portal.call(trigger.set)
    portal.call(asyncio.sleep, 0.02)
    with pytest.raises(ResourceLost) as info:
        held.close()
    assert info.value.__cause__ is not None
    assert held.close() is False


def test_a_dropped_handle_warns_and_its_resource_is_left(portal):
    log = []
    held = portal.enter(resource(log))
    with pytest.warns(ResourceWarning, match="never left"):
        del held
        gc.collect()
    portal.call(asyncio.sleep, 0.01)
    assert log == [("in", "r"), ("out", "r")]


def test_closing_the_portal_leaves_what_is_open_newest_first():
    log = []
    with Portal() as portal:
        helds = [portal.enter(resource(log, f"r{n}")) for n in range(4)]
        helds[1].close()
        late = portal.submit(asyncio.sleep, GUARD)
    assert log[-3:] == [("out", "r3"), ("out", "r2"), ("out", "r0")]
    assert isinstance(late.exception(GUARD), PortalClosed)
    for held in helds:
        assert held.close() is False
        with pytest.raises(PortalClosed):
            held.call(use, 1)


def test_an_error_of_leaving_at_the_portals_end_is_reported_and_the_rest_is_left():
    log, seen = [], []

    @asynccontextmanager
    async def bad_end():
        yield
        raise LookupError("end")

    with Portal() as portal:
        portal.call(lambda: asyncio.get_running_loop().set_exception_handler(lambda loop, c: seen.append(c)))
        helds = [portal.enter(resource(log)), portal.enter(bad_end())]
    assert log[-1] == ("out", "r")
    assert [str(context["exception"]) for context in seen] == ["end"]
    del helds


def test_a_resource_is_used_and_left_from_code_on_the_portals_own_thread(portal):
    log = []

    async def main():
        held = portal.enter(resource(log))
        assert held.call(use, 1) == 1
        held.close()

    portal.call(main, timeout=GUARD)
    assert log == [("in", "r"), ("out", "r")]
