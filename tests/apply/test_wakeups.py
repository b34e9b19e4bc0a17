"""A Ctrl-C wakes the loop that waits, whatever other loops were made and closed: on Windows these take over, and drop, what it is woken by."""

from __future__ import annotations

import textwrap

import pytest
import support

HEADER = """
import asyncio, os, signal, threading
import aionest
aionest.apply()
def interrupt():
    os.kill(os.getpid(), signal.SIGINT) if os.name == "posix" else signal.raise_signal(signal.SIGINT)
async def wait():
    threading.Timer(0.2, interrupt).start()
    await asyncio.sleep(600)
def other():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
"""
PROGRAMS = {
    "between two runs on one loop": """
        async def hold():  # what keeps the loop open for the next run
            hold.server = await asyncio.start_server(lambda *streams: None, "127.0.0.1", 0)
            return asyncio.get_running_loop()
        async def again():
            assert asyncio.get_running_loop() is first
            await wait()
        first = asyncio.run(hold())
        other()
        run = again
    """,
    "a guest": """
        async def run():
            other()
            await wait()
    """,
    "a loop of a portal": """
        async def run():
            aionest.portal().call(asyncio.sleep, 0)
            await wait()
    """,
}
END = """
try:
    asyncio.run(run())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("which", PROGRAMS)
def test_it_wakes_the_loop_that_waits(child, which):
    r = child(HEADER + textwrap.dedent(PROGRAMS[which]) + END, dev=False, timeout=support.GUARD)
    assert (r.returncode, r.stdout) == (0, "interrupted\n"), r
