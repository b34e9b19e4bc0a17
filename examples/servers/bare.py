"""A small MCP server over stdio, standard library only, that can misbehave on request.

Usage: bare.py [--fault NAME] [--tools N] [--page N] [--pid-file FILE] [--name NAME]

It starts in some 20 ms and speaks protocol 2025-06-18. Tools: ``echo`` (text), ``add`` (a, b), ``sleep`` (seconds), ``pid``,
``count`` (calls so far), ``big`` (size), ``die`` (exit code), ``fail``, ``progress`` (steps), ``change`` (adds a tool and says
so), ``log`` (message), ``env`` (name), ``ask`` (method, params: a request to the client), ``cancellations``, ``promised``
(announces a structured result and gives none). One resource and one prompt.

Faults: crash (message on stderr, exit 3), junk (text on stdout before and between messages), hang (never answers
initialize), slow (answers it after a second), stubborn (ignores end of input and SIGTERM), child (starts a process of its
own that outlives it unless its group is ended), bad-schema (a tool whose schema is not one), no-tools, deaf (closes its input once
it has told its tools, and stays), mute (closes its output then, and stays), leak (writes $TOKEN to stderr and to stdout, then as
crash).
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time


class options:
    """Of the command line, which is read without argparse: that takes as long to import as all the rest."""

    fault, tools, page, pid_file, name = "", 0, 100, "", "bare"


for option, value in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    field = option.removeprefix("--").replace("-", "_")
    setattr(options, field, type(vars(options)[field])(value))

write_lock = threading.Lock()
calls = 0
extra: list[dict] = []
cancelled: set = set()
asked: dict = {}
questions = itertools.count(1)  # calls are threads, and two must not ask under the same number


def send(message: dict) -> None:
    data = json.dumps({"jsonrpc": "2.0", **message})
    with write_lock:
        sys.stdout.write(data + "\n")
        sys.stdout.flush()


def tool(name: str, description: str, properties: dict, required=(), **annotations) -> dict:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": annotations}


TOOLS = [
    tool(
        "echo",
        "Give the text back",
        {"text": {"type": "string", "description": "what to say"}},
        ["text"],
        readOnlyHint=True,
    ),
    tool(
        "add",
        "Add two numbers",
        {"a": {"type": "number"}, "b": {"type": "number", "default": 1}},
        ["a"],
        readOnlyHint=True,
    ),
    tool("sleep", "Wait for some seconds", {"seconds": {"type": "number"}}, ["seconds"], idempotentHint=True),
    tool("pid", "The server's process id", {}, readOnlyHint=True),
    tool("count", "How many calls there were", {}),
    tool("big", "A result of that many characters", {"size": {"type": "integer"}}, ["size"]),
    tool("die", "End the server in the middle of the call", {"code": {"type": "integer"}}),
    tool("fail", "Report an error", {"message": {"type": "string"}}),
    tool("progress", "Report progress", {"steps": {"type": "integer"}, "delay": {"type": "number"}}, ["steps"]),
    tool("change", "Add a tool and tell that the list has changed", {"name": {"type": "string"}}, ["name"]),
    tool("log", "Send a log message", {"message": {"type": "string"}, "level": {"type": "string"}}, ["message"]),
    tool("env", "An environment variable of the server", {"name": {"type": "string"}}, ["name"]),
    tool("ask", "Ask the client", {"method": {"type": "string"}, "params": {"type": "object"}}, ["method"]),
    tool("cancellations", "How many requests the client has cancelled", {}),
    {**tool("promised", "Promises a structured result", {}), "outputSchema": {"type": "object", "required": ["sum"]}},
]


def all_tools() -> list[dict]:
    if options.fault == "no-tools":
        return []
    found = [*TOOLS, *extra]
    if options.fault == "bad-schema":
        found.append(
            {"name": "odd", "description": "odd", "inputSchema": {"type": "object", "properties": {"a": {"type": 7}}}}
        )
    return found + [tool(f"tool{n}", f"Tool number {n}", {}) for n in range(options.tools)]


def text(value: object, **more) -> dict:
    return {"content": [{"type": "text", "text": str(value)}], "isError": False, **more}


def sleep(seconds: float, request: object) -> dict:
    end = time.monotonic() + seconds
    while time.monotonic() < end and request not in cancelled:
        time.sleep(0.01)
    return text("slept" if request not in cancelled else "cancelled")


def die(code: int) -> None:
    sys.stderr.write("dying as told\n")
    sys.stderr.flush()
    os._exit(code)


def progress(steps: int, delay: float, token: object) -> dict:
    for step in range(steps):
        if token is not None:
            params = {"progressToken": token, "progress": step + 1, "total": steps, "message": f"step {step + 1}"}
            send({"method": "notifications/progress", "params": params})
        time.sleep(delay)
    return text("done")


def change(name: str) -> dict:
    extra.append(tool(name, "Added later", {}))
    send({"method": "notifications/tools/list_changed"})
    return text("changed")


def log(message: str, level: str) -> dict:
    send({"method": "notifications/message", "params": {"level": level, "data": message}})
    return text("logged")


def ask(method: str, params: dict) -> dict:
    import queue

    number, reply = f"ask-{next(questions)}", queue.Queue()
    asked[number] = reply
    send({"id": number, "method": method, "params": params})
    return text(json.dumps(reply.get(timeout=60)))


def add(a: float, b: float) -> dict:
    return text(a + b, structuredContent={"sum": a + b})


# tool -> what it does with its arguments, the caller's progress token and the number of the request
CALLS = {
    "echo": lambda given, *_: text(given["text"]),
    "add": lambda given, *_: add(given["a"], given.get("b", 1)),
    "sleep": lambda given, token, request: sleep(given["seconds"], request),
    "pid": lambda *_: text(os.getpid()),
    "count": lambda *_: text(calls),
    "big": lambda given, *_: text("x" * given["size"]),
    "die": lambda given, *_: die(given.get("code", 9)),
    "fail": lambda given, *_: {**text(given.get("message", "it failed")), "isError": True},
    "progress": lambda given, token, _: progress(given["steps"], given.get("delay", 0.01), token),
    "change": lambda given, *_: change(given["name"]),
    "log": lambda given, *_: log(given["message"], given.get("level", "info")),
    "env": lambda given, *_: text(os.environ.get(given["name"], "")),
    "ask": lambda given, *_: ask(given["method"], given.get("params") or {}),
    "cancellations": lambda *_: text(len(cancelled)),
    "promised": lambda *_: text("nothing"),
}


def call(name: str, arguments: dict, token: object, request: object) -> dict:
    global calls
    calls += 1
    if name in CALLS:
        return CALLS[name](arguments, token, request)
    if name.startswith("tool") or name in {t["name"] for t in extra}:
        return text(name)
    return {**text(f"Unknown tool: {name}"), "isError": True}


def answer(method: str, params: dict, request: object) -> dict:
    if method == "initialize":
        if options.fault == "slow":
            time.sleep(1)
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {"listChanged": True}, "resources": {}, "prompts": {}, "logging": {}},
            "serverInfo": {"name": options.name, "version": "1.0"},
        }
    if method == "tools/list":
        tools = all_tools()
        start = int(params.get("cursor") or 0)
        result = {"tools": tools[start : start + options.page]}
        if start + options.page < len(tools):
            result["nextCursor"] = str(start + options.page)
        return result
    if method == "tools/call":
        token = (params.get("_meta") or {}).get("progressToken")
        return call(params["name"], params.get("arguments") or {}, token, request)
    if method == "resources/list":
        return {"resources": [{"uri": "memo://one", "name": "one", "mimeType": "text/plain", "description": "A memo"}]}
    if method == "resources/templates/list":
        return {"resourceTemplates": []}
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "mimeType": "text/plain", "text": "the first memo"}]}
    if method == "prompts/list":
        return {
            "prompts": [{"name": "greet", "description": "Greet", "arguments": [{"name": "who", "required": True}]}]
        }
    if method == "prompts/get":
        who = (params.get("arguments") or {}).get("who", "you")
        memo = {"uri": "memo://one", "mimeType": "text/plain", "text": "the first memo"}
        said = [{"type": "text", "text": f"Greet {who}"}, {"type": "resource", "resource": memo}]
        return {"messages": [{"role": "user", "content": content} for content in said]}
    if method in ("ping", "logging/setLevel"):
        return {}
    raise LookupError(method)


def serve(message: dict) -> None:
    request = message["id"]
    try:
        result = answer(message["method"], message.get("params") or {}, request)
    except LookupError:
        send({"id": request, "error": {"code": -32601, "message": f"Method not found: {message['method']}"}})
    except Exception as exc:
        send({"id": request, "error": {"code": -32602, "message": f"{type(exc).__name__}: {exc}"}})
    else:
        send({"id": request, "result": result})
    if options.fault in ("deaf", "mute") and message["method"] == "tools/list":
        os.close(0 if options.fault == "deaf" else 1)
        time.sleep(600)
    if options.fault == "junk":
        with write_lock:
            sys.stdout.write("a line that is no message\n")
            sys.stdout.flush()


def main() -> None:
    if options.pid_file:
        with open(options.pid_file, "a") as file:
            file.write(f"{os.getpid()}\n")
    if options.fault == "leak":
        print("key is " + os.environ["TOKEN"], flush=True)
        sys.stderr.write(f"cannot log in with {os.environ['TOKEN']}\n")
        sys.exit(3)
    if options.fault == "crash":
        sys.stderr.write("cannot start: no such database\n")
        sys.exit(3)
    if options.fault == "junk":
        print("Welcome to the server!", flush=True)
    if options.fault == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.fault == "child":
        import subprocess

        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL)
        if options.pid_file:
            with open(options.pid_file, "a") as file:
                file.write(f"{child.pid}\n")
    for line in sys.stdin.buffer:  # UTF-8, whatever the system takes text for
        message = json.loads(line)
        if message.get("method") == "notifications/cancelled":
            cancelled.add((message.get("params") or {}).get("requestId"))
        if "method" not in message and message.get("id") in asked:
            asked.pop(message["id"]).put(message.get("result") or message.get("error"))
        if "id" not in message or "method" not in message:
            continue
        if options.fault == "hang":
            continue
        if message["method"] == "tools/call":
            threading.Thread(target=serve, args=(message,), daemon=True).start()
        else:
            serve(message)
    while options.fault == "stubborn":
        time.sleep(1)


main()
