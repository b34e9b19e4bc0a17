"""A process whose start is cut short by the loop's shutdown: asyncio.run must return."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("close_loop", [False, True])
def test_a_failing_start_beside_a_good_one(child, close_loop):
    r = child(
        f"""
        import asyncio, sys
        import aionest
        aionest.apply(close_loop={close_loop})

        async def good():
            await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(100)", stdin=-1, stdout=-1, stderr=-1)

        async def bad():
            await asyncio.create_subprocess_exec("no-such-command")

        async def main():
            await asyncio.gather(bad(), good())

        try:
            asyncio.run(main())
        except FileNotFoundError:
            print("returned")
        """,
        dev=False,
        timeout=30,
    )
    assert (r.returncode, r.stdout) == (0, "returned\n"), r


@pytest.mark.parametrize("pipes", ["-1", "None"])
def test_a_start_that_is_cancelled_while_its_pipes_are_connected(child, pipes):
    r = child(
        f"""
        import asyncio, sys
        import aionest
        aionest.apply()

        async def main():
            loop = asyncio.get_running_loop()
            arguments = (sys.executable, "-c", "import time; time.sleep(100)")
            start = loop.subprocess_exec(
                asyncio.SubprocessProtocol, *arguments, stdin={pipes}, stdout={pipes}, stderr={pipes}
            )
            task = loop.create_task(start)
            loop.call_soon(task.cancel)
            try:
                await task
            except asyncio.CancelledError:
                print("cancelled")

        asyncio.run(main())
        """,
        dev=False,
        timeout=30,
    )
    assert (r.returncode, r.stdout) == (0, "cancelled\n") and "Exception ignored" not in r.stderr, r
