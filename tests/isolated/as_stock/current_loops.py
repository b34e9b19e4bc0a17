"""What get_event_loop() gives before, in and after runs, and in threads."""

from __future__ import annotations

import asyncio
import threading


def tried(function):
    try:
        return type(function()).__name__
    except Exception as exc:
        return f"{type(exc).__name__}: {str(exc)[:40]}"


async def current():
    return asyncio.get_event_loop() is asyncio.get_running_loop(), asyncio.get_event_loop() is loop


def in_a_thread():
    print(tried(asyncio.get_event_loop), asyncio.run(current()), tried(asyncio.get_event_loop))
    own = asyncio.new_event_loop()
    asyncio.set_event_loop(own)
    print(asyncio.get_event_loop() is own)
    own.close()


print(tried(asyncio.get_running_loop), tried(asyncio.get_event_loop))
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
print(asyncio.get_event_loop() is loop, asyncio.run(current()), tried(asyncio.get_event_loop), loop.is_closed())
asyncio.set_event_loop(loop)
print(loop.run_until_complete(current()), asyncio.get_event_loop() is loop)
loop.close()
print(asyncio.get_event_loop() is loop)
asyncio.set_event_loop(None)
print(tried(asyncio.get_event_loop), tried(asyncio.Future), tried(asyncio.gather))
thread = threading.Thread(target=in_a_thread)
thread.start()
thread.join()
