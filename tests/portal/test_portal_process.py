"""A portal and the process: Ctrl-C, fork, interpreter exit. Each in an interpreter of its own."""

import importlib.util
import os
import sys

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_cancels_the_call_and_raises(child):
    assert (
        child("""
        begun = threading.Event()
        async def work():
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)
                print("cancelled")
                raise
        for use in (lambda p: p.call(work), lambda p: p.run(work()), lambda p: p.call(work, timeout=60)):
            with Portal() as p:
                begun.clear()
                interrupt_when(begun)
                try:
                    use(p)
                except KeyboardInterrupt:
                    print("interrupted")
                print(p.call(asyncio.sleep, 0, "works"))
    """)
        == ["cancelled", "interrupted", "works"] * 3
    )


def test_ctrl_c_while_the_work_refuses_to_end(child):
    assert child("""
        begun = threading.Event()
        async def work():
            global release
            release = asyncio.Event()
            begun.set()
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    print("no")
        with Portal() as p:
            interrupt_when(begun)
            try:
                p.call(work)
            except KeyboardInterrupt:
                print("interrupted")
            p.call(lambda: release.set())
    """) == ["no", "interrupted"]


def test_a_second_ctrl_c_does_not_wait_for_the_end_of_a_shared_run(child):
    assert child("""
        begun, asked = threading.Event(), threading.Event()
        async def work():
            global release
            release = asyncio.Event()
            begun.set()
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    print("no")
                    asked.set()
        interrupt_when(begun)
        interrupt_when(asked)
        try:
            shared_run(work())
        except KeyboardInterrupt:
            print("interrupted")
        portal().call(lambda: release.set())
    """) == ["no", "interrupted"]


def test_ctrl_c_during_an_iteration_closes_the_generator(child):
    assert child("""
        begun = threading.Event()
        async def numbers():
            try:
                yield 1
                begun.set()
                await asyncio.sleep(60)
                yield 2
            finally:
                print("closed")
        with Portal() as p:
            interrupt_when(begun)
            try:
                for n in p.iterate(numbers()):
                    print(n)
            except KeyboardInterrupt:
                print("interrupted")
            print(p.call(lambda: len(asyncio.all_tasks())))
    """) == ["1", "closed", "interrupted", "1"]


def test_ctrl_c_while_entering_and_leaving(child):
    assert child("""
        begun = threading.Event()
        @asynccontextmanager
        async def slow(where):
            try:
                if where == "in":
                    begun.set(); await asyncio.sleep(60)
                yield
                if where == "out":
                    begun.set(); await asyncio.sleep(60)
            finally:
                print("undone")
        with Portal() as p:
            interrupt_when(begun)
            try:
                p.enter(slow("in"))
            except KeyboardInterrupt:
                print("interrupted")
            begun.clear()
            held = p.enter(slow("out"))
            interrupt_when(begun)
            try:
                held.close()
            except KeyboardInterrupt:
                print("interrupted")
            print(held.close())
    """) == ["undone", "interrupted", "undone", "interrupted", "False"]


@pytest.mark.parametrize("setting", ["stock", "applied"])
def test_ctrl_c_in_a_call_from_inside_the_main_threads_loop(child, setting):
    assert child(f"""
        if {setting == "applied"}:
            aionest.apply()
        begun = threading.Event()
        async def work():
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                print("cancelled")
        async def main():
            try:
                p.call(work)
            finally:
                print("main ends")
        with Portal() as p:
            interrupt_when(begun)
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("interrupted")
            print(p.call(asyncio.sleep, 0, "works"))
    """) == ["cancelled", "main ends", "interrupted", "works"]


def test_an_exception_of_any_signal_handler_cancels_the_call(child):
    assert child(
        """
        begun = threading.Event()
        async def work():
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                print("cancelled")
        def handler(*args):
            print(p.call(asyncio.sleep, 0, "a call in a handler"))
            raise SystemExit(7)
        signal.signal(signal.SIGTERM, handler)
        p = Portal()
        interrupt_when(begun, signal.SIGTERM)
        p.call(work)
    """,
        returncode=7,
    ) == ["a call in a handler", "cancelled"]


# ---- fork ------------------------------------------------------------------------------------------------------------

FORK = ("-W", "ignore::DeprecationWarning")  # that of forking with threads, which is what is tested


@needs_fork
def test_a_forked_child_starts_a_portal_of_its_own_and_the_parents_goes_on(child):
    assert child(
        """
        async def where():
            await asyncio.sleep(0.001)
            return os.getpid()
        p = Portal()
        assert p.call(where) == portal().call(where) == os.getpid()
        for i in range(3):
            pid = os.fork()
            if pid == 0:
                assert p.call(where) == os.getpid()
                assert portal().call(where) == os.getpid()
                with Portal() as q:
                    assert q.call(where) == os.getpid()
                p.close()
                sys.stdout.write("child\\n")
                sys.exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
            assert p.call(where) == portal().call(where) == os.getpid()
        p.close()
        print("parent")
    """,
        options=FORK,
    ) == ["child"] * 3 + ["parent"]


@needs_fork
@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="no uvloop here")
def test_a_forked_child_leaves_a_portals_loop_of_uvloops_alone(child):
    assert child(
        """
        import uvloop
        async def where():
            await asyncio.sleep(0.001)
            return os.getpid(), type(asyncio.get_running_loop()).__module__
        p = Portal(loop_factory=uvloop.new_event_loop)
        assert p.call(where) == (os.getpid(), "uvloop")
        for i in range(2):
            pid = os.fork()
            if pid == 0:
                assert p.call(where) == (os.getpid(), "uvloop")
                p.close()
                sys.stdout.write("child\\n")
                sys.exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
            assert p.call(where) == (os.getpid(), "uvloop")
        p.close()
        print("parent")
    """,
        options=FORK,
    ) == ["child"] * 2 + ["parent"]


@needs_fork
@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="no uvloop here")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_portal_starts_processes_under_uvloops_policy(child, when):
    assert child(
        f"""
        import uvloop, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        async def status():
            return await (await asyncio.create_subprocess_exec("sh", "-c", "exit 3")).wait()
        p = Portal()
        if {when!r} == "after":
            p.call(asyncio.sleep, 0)
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        print(p.call(status))
        p.close()
    """
    ) == ["3"]


@needs_fork
def test_what_the_parent_holds_is_gone_in_the_child_and_stays_in_the_parent(child):
    assert child(
        """
        @asynccontextmanager
        async def resource():
            try:
                yield 1
            finally:
                print("left in", "parent" if os.getpid() == parent else "child", flush=True)
        async def use(): return 2
        parent = os.getpid()
        p = Portal()
        held = p.enter(resource())
        pid = os.fork()
        if pid == 0:
            assert not held.is_open
            try:
                held.call(use)
            except RuntimeError as exc:
                print(type(exc).__name__, flush=True)
            assert held.close() is False
            assert p.call(use) == 2
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert held.call(use) == 2
        held.close()
    """,
        options=FORK,
    ) == ["PortalClosed", "left in parent"]


@needs_fork
def test_fork_while_other_threads_are_in_calls(child):
    assert child(
        """
        p, stop = Portal(), threading.Event()
        async def work(): await asyncio.sleep(0)
        def calls():
            while not stop.is_set():
                p.call(work)
        threads = [threading.Thread(target=calls) for _ in range(8)]
        for t in threads: t.start()
        for i in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(30)
                p.call(work)
                os._exit(3)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        stop.set()
        for t in threads: t.join()
        p.close()
        print("done")
    """,
        options=FORK,
    ) == ["done"]


@needs_fork
def test_a_pool_of_forked_processes_uses_the_default_portal(child):
    assert child(
        """
        import multiprocessing
        async def work(n):
            await asyncio.sleep(0)
            return n * 2
        def use(n): return portal().call(work, n)
        assert use(1) == 2
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(use, range(5)))
    """,
        options=FORK,
    ) == ["[0, 2, 4, 6, 8]"]


# ---- interpreter exit ------------------------------------------------------------------------------------------------


def test_exit_with_an_idle_portal(child):
    assert child("""
        p = Portal(); print(p.call(asyncio.sleep, 0, 1))
        Portal()
        print(portal().call(asyncio.sleep, 0, 2))
    """) == ["1", "2"]


def test_exit_with_calls_under_way(child):
    assert child("""
        begun = threading.Event()
        async def work():
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                os.write(1, b"cancelled\\n")
        def call():
            try:
                portal().call(work)
            except BaseException as exc:
                os.write(1, type(exc).__name__.encode() + b"\\n")
        threading.Thread(target=call, daemon=True).start()
        begun.wait()
    """)[:1] == ["cancelled"]


def test_exit_leaves_what_is_held_and_closes_generators(child):
    assert child("""
        @asynccontextmanager
        async def resource(name):
            try:
                yield
            finally:
                await asyncio.sleep(0)
                print("left", name)
        async def numbers():
            try:
                yield 1
                yield 2
            finally:
                print("closed")
        held = [portal().enter(resource(n)) for n in "abc"]
        steps = portal().iterate(numbers())
        next(steps)
        print("exit")
    """) == ["exit", "left c", "left b", "left a", "closed"]


def test_exit_handlers_registered_after_the_import_may_use_the_portal(child):
    assert child("""
        @asynccontextmanager
        async def resource():
            yield
            print("left")
        def bye():
            print(held.call(asyncio.sleep, 0, "used"))
            held.close()
            print(shared_run(asyncio.sleep(0, "run")))
            print(portal().call(asyncio.sleep, 0, "call"))
        atexit.register(bye)
        held = portal().enter(resource())
    """) == ["used", "left", "run", "call"]


def test_exit_handlers_registered_before_the_import_can_still_run_things(child):
    assert child(
        """
        import atexit, asyncio
        def bye():
            print(shared_run(asyncio.sleep(0, "run")))
            try:
                portal().call(asyncio.sleep, 0)
            except RuntimeError as exc:
                print(type(exc).__name__)
            held.close()
        atexit.register(bye)
        from contextlib import asynccontextmanager
        from aionest._portal.default import portal, shared_run
        @asynccontextmanager
        async def resource():
            yield
            print("left")
        held = portal().enter(resource())
    """,
        header="",
    ) == ["left", "run", "PortalClosed"]


@pytest.mark.skipif(sys.version_info[:3] == (3, 12, 1), reason="3.12.1 starts no threads in exit handlers")
def test_a_portal_that_is_first_used_in_an_exit_handler(child):
    assert child("""
        atexit.register(lambda: print(portal().call(asyncio.sleep, 0, "call")))
    """) == ["call"]


def test_a_shared_run_that_comes_first_in_an_exit_handler(child):
    assert child("""
        atexit.register(lambda: print(shared_run(asyncio.sleep(0, "run"))))
    """) == ["run"]


def test_use_in_a_finalizer_at_the_very_end_is_refused_and_does_not_hang(child):
    assert (
        child("""
        class Last:
            def __init__(self, portal): self.portal = portal
            def __del__(self, write=os.write, sleep=asyncio.sleep, finalizing=sys.is_finalizing):
                try:
                    self.portal.call(sleep, 0)
                except RuntimeError as exc:
                    write(1, f"{finalizing()} {type(exc).__name__}\\n".encode())
        used = Portal(); used.call(asyncio.sleep, 0)
        last = Last(used), Last(Portal()), Last(portal())
    """)
        == ["True PortalClosed"] * 3
    )


def test_exit_while_the_loop_is_blocked_does_not_wait_for_ever(child):
    lines = child(
        """
        from aionest._portal import process
        process.EXIT_GRACE = 0.2
        begun = threading.Event()
        portal().submit(lambda: (begun.set(), time.sleep(600)))
        begun.wait()
        print("exit")
    """,
        stderr="did not end within 0.2 s",
        options=(),
    )
    assert lines == ["exit"]


def test_exit_waits_as_long_as_one_resource_after_the_other_is_left(child):
    assert child("""
        sys.modules["aionest._portal.process"].EXIT_GRACE = 4
        @asynccontextmanager
        async def resource(n):
            yield
            await asyncio.sleep(1.5)
            print("left", n, flush=True)
        held = [portal().enter(resource(n)) for n in range(4)]
    """) == [f"left {n}" for n in (3, 2, 1, 0)]


def test_exit_waits_for_threads_that_still_call(child):
    assert child("""
        async def work(n):
            await asyncio.sleep(0.01)
            return n
        def calls():
            print([portal().call(work, n) for n in range(5)])
        portal().call(work, 0)
        threading.Thread(target=calls).start()
    """) == ["[0, 1, 2, 3, 4]"]


def test_daemon_threads_that_call_until_the_end(child):
    for _ in range(5):
        assert child("""
            async def work(): await asyncio.sleep(0)
            def calls():
                while True:
                    try:
                        portal().call(work)
                    except RuntimeError:
                        time.sleep(0.001)
            for _ in range(4): threading.Thread(target=calls, daemon=True).start()
            portal().call(asyncio.sleep, 0.05)
            print("exit")
        """) == ["exit"]


def test_tasks_of_the_main_threads_loop_may_use_portals_when_it_is_closed_at_exit(child):
    assert child("""
        aionest.apply()
        async def background():
            try:
                await asyncio.sleep(60)
            finally:
                print(portal().call(asyncio.sleep, 0, "used in clean-up"))
        async def main():
            main.task = asyncio.ensure_future(background())
            await asyncio.sleep(0)
        asyncio.run(main())
        portal().call(asyncio.sleep, 0)
    """) == ["used in clean-up"]


def test_os_exit_and_a_crash_of_the_main_thread_do_not_hang(child):
    assert child("portal().call(asyncio.sleep, 0); print(1, flush=True); os._exit(3)", returncode=3) == ["1"]
    assert (
        child("portal().call(asyncio.sleep, 0); raise LookupError('main')", returncode=1, stderr="LookupError: main")
        == []
    )
