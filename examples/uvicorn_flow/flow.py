"""A FastAPI application on uvicorn and uvloop, whose handler calls synchronous code that calls asyncio.run.

    python flow.py stock|nest_asyncio|nest_asyncio2|aionest

Starts the server, sends requests at once, and prints one line of JSON: on which loop it ran, and what came of the requests.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import importlib
import json
import sys
import threading
import time
import urllib.error
import urllib.request

mode = sys.argv[1]
if mode == "aionest":
    import aionest

    aionest.apply()

import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402

REQUESTS, DELAY = 20, 0.1  # seconds
app = FastAPI()
errors: list[str] = []


def price(item: str) -> int:  # synchronous, and deep in a library
    return asyncio.run(look_up(item))


async def look_up(item: str) -> int:
    await asyncio.sleep(DELAY)
    return len(item)


@app.get("/prices/{item}")
async def read_price(item: str) -> dict[str, object]:
    try:
        if mode.startswith("nest_asyncio"):
            importlib.import_module(mode).apply()
        return {"price": price(item), "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0]}
    except Exception as exc:
        errors.append(f"{type(exc).__name__}: {exc}")
        raise


def ask(port: int, number: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/prices/{'x' * number}", timeout=30) as answer:
            found = json.load(answer)
            return answer.status if found["price"] == number else 0, found["loop"]
    except urllib.error.HTTPError as exc:
        return exc.code, ""
    except OSError:  # no answer
        return 0, ""


server = uvicorn.Server(uvicorn.Config(app, port=0, loop="uvloop", log_level="critical", timeout_graceful_shutdown=3))
thread = threading.Thread(target=server.run, daemon=True)
thread.start()
while not (server.started and server.servers):
    time.sleep(0.01)
address = server.servers[0].sockets[0].getsockname()
begin = time.monotonic()
with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
    answers = list(pool.map(lambda number: ask(address[1], number), range(1, REQUESTS + 1)))
seconds = time.monotonic() - begin
server.should_exit = True
thread.join(30)
codes = collections.Counter(f"HTTP {code}" if code else "no answer" for code, _ in answers)
ok = codes == {"HTTP 200": REQUESTS} and {loop for _, loop in answers} == {"uvloop"} and not thread.is_alive()
result = {
    "ok": ok,
    "codes": codes,
    "ms": seconds * 1000,
    "one": REQUESTS * DELAY * 1000,
    "why": errors[0] if errors else "",
}
print(json.dumps(result), flush=True)
