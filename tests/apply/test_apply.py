"""apply() and unapply(): idempotent, complete both ways, options; the drop-in for nest_asyncio; lazy engine."""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import base_events, runners, selector_events

import pytest

import aionest


async def value(x):
    await asyncio.sleep(0)
    return x


def attributes():
    found = {}
    owners = [
        base_events.BaseEventLoop,
        selector_events._SelectorSocketTransport,
        asyncio.mixins._LoopBoundMixin,
        runners,
        asyncio,
    ]
    if hasattr(asyncio, "Runner"):
        owners.append(asyncio.Runner)
    for owner in owners:
        for name, v in vars(owner).items():
            if name not in ("__dict__", "__weakref__"):
                found[owner.__name__, name] = v
    return found


def test_unapply_puts_everything_back():
    aionest.unapply()  # portals of other tests may have left the engine in place
    before = attributes()
    aionest.apply()
    assert attributes() != before
    aionest.unapply()
    assert attributes() == before
    aionest.unapply()
    assert attributes() == before


def test_applying_twice_changes_nothing():
    aionest.apply()
    once = attributes()
    aionest.apply()
    loop = asyncio.new_event_loop()
    aionest.apply(loop)
    loop.close()
    assert attributes() == once
    aionest.unapply()


def test_unapply_inside_a_run_is_refused(applied):
    async def main():
        with pytest.raises(RuntimeError, match="unapply"):
            aionest.unapply()

    asyncio.run(main())


def test_from_several_threads_at_once():
    threads = [threading.Thread(target=aionest.apply) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert aionest.is_applied()
    aionest.unapply()


@pytest.mark.parametrize("close_loop", [None, True])
def test_close_loop_says_whether_a_run_ends_as_asyncios_own(applied, close_loop):
    aionest.apply(close_loop=close_loop)
    loops = []

    async def main():
        loops.append(asyncio.get_running_loop())
        loops.append(asyncio.ensure_future(asyncio.sleep(60)))
        return asyncio.run(value(1))

    assert asyncio.run(main()) == 1
    assert loops[0].is_closed() and loops[1].cancelled()
    aionest.apply(close_loop=False)
    asyncio.run(main())
    assert not loops[2].is_closed() and not loops[3].done()


def test_debug_argument_holds_for_the_run_only(applied):
    async def debug():
        return asyncio.get_running_loop().get_debug()

    async def main():
        return asyncio.run(debug(), debug=True), asyncio.run(debug())

    before = asyncio.run(debug())
    assert asyncio.run(debug(), debug=True) is True
    assert asyncio.run(debug()) is before
    assert asyncio.run(main(), debug=False) == (True, False)


def test_loop_that_was_set_is_used_with_close_loop_false(applied):
    aionest.apply(close_loop=False)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:

        async def which():
            return asyncio.get_running_loop()

        assert asyncio.run(which()) is loop
        assert not loop.is_closed()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_loop_that_was_set_is_left_alone(applied):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def which():
        return asyncio.get_running_loop()

    assert asyncio.run(which()) is not loop
    assert not loop.is_closed()
    loop.close()


def test_run_without_apply(drop_loop):
    """aionest.run and await_ need no apply(); asyncio.run stays asyncio's."""
    assert not aionest.is_applied()
    stock = asyncio.run

    async def main():
        with pytest.raises(RuntimeError):
            coro = value(1)
            try:
                asyncio.run(coro)
            finally:
                coro.close()
        own = aionest.run(value(4), loop_factory=asyncio.new_event_loop)
        return aionest.run(value(2)), aionest.await_(value(3)), own

    assert aionest.run(main()) == (2, 3, 4)
    assert asyncio.run is stock and not aionest.is_applied()
    drop_loop()
    aionest.unapply()


def test_shared_runs_of_all_threads_use_one_loop(child):
    r = child(
        """
        import asyncio, threading, contextvars, aionest
        aionest.apply(shared=True)
        var = contextvars.ContextVar("var", default=0)

        async def main():
            await asyncio.sleep(0.001)
            return asyncio.get_running_loop(), threading.current_thread().name, var.get()

        async def nested():
            return asyncio.run(main())

        results = []

        def work(i):
            var.set(i)
            results.append(asyncio.run(main()))
            results.append(asyncio.run(nested()))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len({r[:2] for r in results}) == 1
        assert results[0][1] != "MainThread"
        print(sorted(r[2] for r in results))
        aionest.apply(shared=False)
        assert asyncio.run(main())[1] == "MainThread"
        """
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]\n", "")


def test_shim(child):
    r = child(
        """
        import sys, asyncio, aionest
        aionest.install_shim()
        assert not aionest.is_applied()
        import nest_asyncio, nest_asyncio2
        nest_asyncio.apply()
        nest_asyncio2.apply()
        assert aionest.is_applied()

        async def value(x):
            await asyncio.sleep(0.001)
            return x

        async def main():
            return asyncio.get_event_loop().run_until_complete(value(1)) + asyncio.run(value(2))

        loop = asyncio.new_event_loop()
        nest_asyncio.apply(loop)
        print(loop.run_until_complete(main()))
        loop.close()
        """
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "3\n", "")


def test_shim_for_a_module_that_is_imported_already(child):
    r = child(
        """
        import sys, types
        module = types.ModuleType("nest_asyncio")
        module.apply = lambda: 1 / 0
        sys.modules["nest_asyncio"] = module
        import aionest
        aionest.install_shim()
        import nest_asyncio
        assert nest_asyncio is module
        nest_asyncio.apply()
        print(aionest.is_applied())
        """
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "True\n", "")


def test_apply_in_a_running_loop(child):
    """As in Jupyter: asyncio's own frames are under way and must not be left short of handles."""
    r = child(
        """
        import asyncio

        async def main():
            import aionest
            order = []
            loop = asyncio.get_running_loop()

            async def ticker():
                for i in range(20):
                    await asyncio.sleep(0.002)
                    order.append("tick")

            ticks = asyncio.create_task(ticker())
            for i in range(5):
                loop.call_soon(order.append, i)
            aionest.apply()
            # the handles that asyncio's frame had counted are run by another stack meanwhile
            assert asyncio.run(asyncio.sleep(0.02, "same callback")) == "same callback"
            assert order[:5] == [0, 1, 2, 3, 4] and "tick" in order
            assert loop.run_until_complete(asyncio.sleep(0.001, 1)) == 1
            assert aionest.await_(asyncio.sleep(0.001, 2)) == 2

            async def until(when):
                future = loop.create_future()
                loop.call_at(when, future.set_result, None)
                await future

            async def caller(delay):
                asyncio.run(until(base + delay))
                order.append(delay)

            await ticks
            del order[:]
            base = loop.time()
            await asyncio.gather(caller(0.03), caller(0.01), caller(0.02))
            assert order == [0.01, 0.02, 0.03], order
            gate = asyncio.Event()

            async def waits():
                asyncio.run(gate.wait())
                return "opened"

            task = asyncio.create_task(waits())
            asyncio.run(asyncio.sleep(0.01))
            gate.set()
            return await task

        print(asyncio.run(main()))

        async def after():
            return asyncio.run(asyncio.sleep(0, "next run"))

        print(asyncio.run(after()))
        """,
        dev=False,  # in debug mode asyncio's frame that is under way would count the time of suspension
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "opened\nnext run\n", "")


def test_import_is_light(child):
    r = child(
        """
        import sys
        before = set(sys.modules)
        import asyncio, aionest
        print(sorted(m for m in sys.modules if m.split(".")[0] in ("anyio", "mcp", "pydantic", "streamlit", "sniffio")))
        """
    )
    assert (r.returncode, r.stdout) == (0, "[]\n")


def test_main_interpreter_only(child):
    if sys.version_info < (3, 13):
        pytest.skip("before 3.13 `import asyncio` alone may crash a subinterpreter")
    r = child(
        """
        import sys
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        i = interpreters.create()
        try:
            r = interpreters.run_string(i, "import aionest")
        except Exception as e:
            r = e
        print("ImportError" in str(r) or "ImportError" in repr(r) or "ModuleNotFound" in str(r), r)
        interpreters.destroy(i)
        """
    )
    assert r.returncode == 0 and r.stdout.startswith("True"), r
