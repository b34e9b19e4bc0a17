"""An MCP server that keeps notes: ``python -m aionest.examples.notes [FILE]``. For trying out loaders, the command line, the app.

Contract: speaks protocol 2025-06-18 over standard input and output, one message a line; only the standard library. Notes live as
long as the process, or in FILE (JSON), which is replaced as a whole at each change. Calls run in threads: one that waits keeps
nobody. Everything ends with standard input.

Tools: ``list``, ``read``, ``search``, ``add``, ``edit``, ``remove``, ``words`` (progress and log messages), ``chart`` (an image),
``remind`` (waits), ``clear`` (asks the person), ``summarize`` (asks the client's model), ``crash`` (what a client does then).
Resources: ``note://N``, by a template too. Prompt: ``plan``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROTOCOL = "2025-06-18"
_TEXT = {"type": "string", "minLength": 1}
_TAGS = {"type": "array", "items": {"type": "string"}, "description": "words to find it by"}
_ID = {"type": "integer", "minimum": 1, "description": "the note's number"}
_NOTE = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "text": {"type": "string"}, "tags": {"type": "array"}},
    "required": ["id", "text", "tags"],
}
_NOTES = {"type": "object", "properties": {"notes": {"type": "array", "items": _NOTE}}, "required": ["notes"]}
FIRST = [
    {"id": 1, "text": "Buy milk and bread", "tags": ["shop"]},
    {"id": 2, "text": "Call Ada about the engine", "tags": ["work", "phone"]},
    {"id": 3, "text": "Water the plants on Friday", "tags": ["home"]},
]


class Failed(Exception):
    """A call that cannot be done; the text is for whoever called."""


class Connection:
    """The client: messages to it, and its answers."""

    def __init__(self) -> None:
        self._write = threading.Lock()
        self._asked: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self.cancelled: dict[Any, threading.Event] = {}  # by requests that run
        self.capabilities: dict[str, Any] = {}

    def send(self, **message: Any) -> None:
        """A message."""
        line = json.dumps({"jsonrpc": "2.0", **message})
        with self._write, contextlib.suppress(BrokenPipeError):  # it has gone, and standard input ends
            print(line, flush=True)

    def ask(self, method: str, capability: str, params: dict[str, Any]) -> dict[str, Any]:
        """The answer of the client.

        :raises Failed: it does not take such requests, or answers with an error.
        """
        if capability not in self.capabilities:
            raise Failed(f"the client takes no {method}")
        number = f"notes-{time.monotonic_ns()}"
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._asked[number] = answer
        self.send(id=number, method=method, params=params)
        found = answer.get()
        if "error" in found:
            raise Failed(str(found["error"].get("message")))
        return dict(found.get("result") or {})

    def answered(self, message: dict[str, Any]) -> None:
        """An answer has come."""
        waiting = self._asked.pop(str(message.get("id")), None)
        if waiting is not None:
            waiting.put(message)


class Notes:
    """The notes, and the tools that work on them. Each tool takes its arguments by name and gives a result."""

    def __init__(self, file: Path | None, client: Connection) -> None:
        self._file = file
        self._client = client
        self._guard = threading.Lock()
        self._notes: dict[int, dict[str, Any]] = {}
        there = json.loads(file.read_text("utf-8")) if file is not None and file.exists() else FIRST
        for one in there:
            self._notes[int(str(one["id"]))] = dict(one)

    def all(self) -> list[dict[str, Any]]:
        """Copies of all."""
        with self._guard:
            return [dict(one) for one in self._notes.values()]

    def get(self, id: int) -> dict[str, Any]:
        """A copy of one. :raises Failed: there is none of that number."""
        with self._guard:
            if id not in self._notes:
                raise Failed(f"there is no note {id}")
            return dict(self._notes[id])

    def _change(self, change: Callable[[dict[int, dict[str, Any]]], Any]) -> Any:
        with self._guard:
            result = change(self._notes)
            if self._file is not None:
                beside = self._file.with_name(f"{self._file.name}.new")
                beside.write_text(json.dumps(list(self._notes.values()), indent=1), "utf-8")
                beside.replace(self._file)
        self._client.send(method="notifications/resources/list_changed")
        return result

    # tools

    def list(self, tag: str = "", **_: Any) -> dict[str, Any]:
        found = [one for one in self.all() if not tag or tag in one["tags"]]
        lines = [f"{one['id']}: {one['text']}" for one in found]
        return {**_text("\n".join(lines) or "no notes"), "structuredContent": {"notes": found}}

    def read(self, id: int, **_: Any) -> dict[str, Any]:
        note = self.get(id)
        return {**_text(note["text"]), "structuredContent": note}

    def search(self, words: str, **_: Any) -> dict[str, Any]:
        wanted = words.lower().split()
        found = [one for one in self.all() if all(w in f"{one['text']} {one['tags']}".lower() for w in wanted)]
        links = [
            {"type": "resource_link", "uri": f"note://{one['id']}", "name": one["text"], "mimeType": "text/plain"}
            for one in found
        ]
        return {"content": [*_text(f"{len(found)} found")["content"], *links]}

    def add(self, text: str, tags: Any = (), **_: Any) -> dict[str, Any]:
        def change(notes: dict[int, dict[str, Any]]) -> dict[str, Any]:
            number = max(notes, default=0) + 1
            notes[number] = {"id": number, "text": text, "tags": [*tags]}
            return dict(notes[number])

        note = self._change(change)
        return {**_text(f"note {note['id']} is kept"), "structuredContent": note}

    def edit(self, id: int, text: str | None = None, tags: Any = None, **_: Any) -> dict[str, Any]:
        def change(notes: dict[int, dict[str, Any]]) -> dict[str, Any]:
            if id not in notes:
                raise Failed(f"there is no note {id}")
            notes[id].update({key: one for key, one in (("text", text), ("tags", tags)) if one is not None})
            return dict(notes[id])

        note = self._change(change)
        return {**_text(f"note {id} is changed"), "structuredContent": note}

    def remove(self, id: int, **_: Any) -> dict[str, Any]:
        def change(notes: dict[int, dict[str, Any]]) -> None:
            if notes.pop(id, None) is None:
                raise Failed(f"there is no note {id}")

        self._change(change)
        return _text(f"note {id} is removed")

    def words(self, delay: float = 0.0, _token: Any = None, _cancelled: Any = None, **_: Any) -> dict[str, Any]:
        notes, total = self.all(), 0
        for done, one in enumerate(notes, 1):
            total += len(one["text"].split())
            if _token is not None:
                told = {"progressToken": _token, "progress": done, "total": len(notes), "message": f"note {one['id']}"}
                self._client.send(method="notifications/progress", params=told)
            if _cancelled.wait(delay):
                raise Failed("cancelled")
        data = {"level": "info", "logger": "notes", "data": f"{len(notes)} notes were counted"}
        self._client.send(method="notifications/message", params=data)
        return {**_text(f"{total} words"), "structuredContent": {"words": total, "notes": len(notes)}}

    def chart(self, **_: Any) -> dict[str, Any]:
        bars = [len(one["text"]) for one in self.all()]
        data = base64.b64encode(_png(bars)).decode()
        return {"content": [{"type": "image", "mimeType": "image/png", "data": data}]}

    def remind(self, text: str, seconds: float, _cancelled: Any = None, **_: Any) -> dict[str, Any]:
        if _cancelled.wait(seconds):
            raise Failed("cancelled")
        return _text(text)

    def clear(self, **_: Any) -> dict[str, Any]:
        schema = {"type": "object", "properties": {"sure": {"type": "boolean", "title": "Remove all of them?"}}}
        question = {
            "message": f"There are {len(self.all())} notes.",
            "requestedSchema": {**schema, "required": ["sure"]},
        }
        answer = self._client.ask("elicitation/create", "elicitation", question)
        if answer.get("action") != "accept" or not (answer.get("content") or {}).get("sure"):
            return _text("nothing was removed")
        self._change(lambda notes: notes.clear())
        return _text("all notes are removed")

    def summarize(self, **_: Any) -> dict[str, Any]:
        text = "Sum up in a sentence:\n" + "\n".join(one["text"] for one in self.all())
        messages = [{"role": "user", "content": {"type": "text", "text": text}}]
        answer = self._client.ask("sampling/createMessage", "sampling", {"messages": messages, "maxTokens": 200})
        content = answer.get("content") or {}
        return _text(content.get("text", "") if isinstance(content, dict) else content)

    def crash(self, **_: Any) -> dict[str, Any]:
        print("crashing, as asked to", file=sys.stderr, flush=True)
        os._exit(3)


def _text(value: object) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": str(value)}]}


def _png(bars: list[int]) -> bytes:
    """A picture of bars, 20 pixels wide each and at most 100 high."""
    height, most = 100, max([*bars, 1])
    rows = []
    for y in range(height):
        filled = [bar * height >= (height - y) * most for bar in bars or [0]]
        rows.append(
            b"\0" + b"".join((b"\x3d\x85\xc6" if one else b"\xff\xff\xff") * 16 + b"\xff\xff\xff" * 4 for one in filled)
        )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 20 * max(len(bars), 1), height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def _tool(
    name: str, title: str, description: str, arguments: dict[str, Any], *required: str, **more: Any
) -> dict[str, Any]:
    schema = {"type": "object", "properties": arguments, "required": [*required], "additionalProperties": False}
    hints = {key: more.pop(key) for key in [*more] if key.endswith("Hint")}
    annotations = {"openWorldHint": False, "destructiveHint": False, **hints}
    return {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": schema,
        "annotations": annotations,
        **more,
    }


TOOLS = [
    _tool("list", "List notes", "All notes, or those with a tag", {"tag": {"type": "string"}}, outputSchema=_NOTES, readOnlyHint=True),
    _tool("read", "Read a note", "The text of a note", {"id": _ID}, "id", outputSchema=_NOTE, readOnlyHint=True),
    _tool("search", "Search notes", "Links to the notes that have all of the words", {"words": _TEXT}, "words", readOnlyHint=True),
    _tool("add", "Add a note", "Keep a note", {"text": _TEXT, "tags": _TAGS}, "text", outputSchema=_NOTE),
    _tool("edit", "Edit a note", "Change a note's text or tags", {"id": _ID, "text": _TEXT, "tags": _TAGS}, "id", outputSchema=_NOTE, idempotentHint=True),
    _tool("remove", "Remove a note", "Remove a note for good", {"id": _ID}, "id", destructiveHint=True),
    _tool("words", "Count words", "Count the words of all notes, and report progress", {"delay": {"type": "number", "minimum": 0, "maximum": 60, "description": "seconds for each note"}}, readOnlyHint=True),
    _tool("chart", "Draw a chart", "A picture of how long the notes are", {}, readOnlyHint=True),
    _tool("remind", "Remind me", "Give the text back after some seconds", {"text": _TEXT, "seconds": {"type": "number", "minimum": 0, "maximum": 3600}}, "text", "seconds", readOnlyHint=True),
    _tool("clear", "Remove all notes", "Remove all notes, after asking the person", {}, destructiveHint=True),
    _tool("summarize", "Sum up", "Have the client's model sum up the notes", {}, readOnlyHint=True),
    _tool("crash", "Crash", "End the server in the midst of the call, to see what a client does", {}),
]  # fmt: skip
_PLAN = {
    "name": "plan",
    "title": "Plan a day",
    "description": "Plan a day with the notes",
    "arguments": [
        {"name": "day", "description": "which day", "required": True},
        {"name": "tag", "description": "only such notes"},
    ],
}


class Server:
    """Answers requests, each in a thread of its own if it is a call."""

    def __init__(self, file: Path | None) -> None:
        self.client = Connection()
        self.notes = Notes(file, self.client)

    def answer(self, request: Any, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a request. :raises LookupError: the method is not known. :raises Failed: it cannot be done."""
        methods: dict[str, Callable[[], dict[str, Any]]] = {
            "initialize": lambda: self._initialize(params),
            "ping": dict,
            "logging/setLevel": dict,
            "tools/list": lambda: {"tools": TOOLS},
            "tools/call": lambda: self._call(request, params),
            "resources/list": lambda: {"resources": [_resource(one) for one in self.notes.all()]},
            "resources/templates/list": lambda: {"resourceTemplates": [{"uriTemplate": "note://{id}", "name": "note", "mimeType": "text/plain"}]},
            "resources/read": lambda: self._read(str(params.get("uri"))),
            "prompts/list": lambda: {"prompts": [_PLAN]},
            "prompts/get": lambda: self._prompt(params),
        }  # fmt: skip
        if method not in methods:
            raise LookupError(method)
        return methods[method]()

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        self.client.capabilities = params.get("capabilities") or {}
        offered = {"tools": {}, "resources": {"listChanged": True}, "prompts": {}, "logging": {}}
        info = {"name": "notes", "title": "Notes", "version": "1.0"}
        return {"protocolVersion": PROTOCOL, "capabilities": offered, "serverInfo": info}

    def _call(self, request: Any, params: dict[str, Any]) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments") or {}
        known = next((one for one in TOOLS if one["name"] == name), None)
        if known is None:
            raise Failed(f"there is no tool {name!r}")
        schema = known["inputSchema"]
        wrong = [f"{one} is missing" for one in schema["required"] if one not in arguments]
        wrong += [f"{one!r} is not known" for one in arguments if one not in schema["properties"]]
        try:
            if wrong:
                raise Failed("; ".join(wrong))
            token = (params.get("_meta") or {}).get("progressToken")
            more = {"_token": token, "_cancelled": self.client.cancelled.get(request)}
            return dict(getattr(self.notes, known["name"])(**arguments, **more))
        except Failed as exc:
            return {**_text(exc), "isError": True}

    def _read(self, uri: str) -> dict[str, Any]:
        number = uri.removeprefix("note://")
        note = self.notes.get(int(number) if number.isdecimal() else 0)
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": note["text"]}]}

    def _prompt(self, params: dict[str, Any]) -> dict[str, Any]:
        arguments = params.get("arguments") or {}
        if params.get("name") != "plan" or "day" not in arguments:
            raise Failed("there is the prompt 'plan', and it wants a day")
        notes = [one for one in self.notes.all() if not arguments.get("tag") or arguments["tag"] in one["tags"]]
        text = f"Plan my {arguments['day']} with these notes:\n" + "\n".join(f"- {one['text']}" for one in notes)
        return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}

    def reply(self, message: dict[str, Any]) -> None:
        """Answer a request, whatever becomes of it."""
        request = message["id"]
        try:
            result = self.answer(request, message["method"], message.get("params") or {})
        except LookupError:
            error = {"code": -32601, "message": f"method not found: {message['method']}"}
            self.client.send(id=request, error=error)
        except Exception as exc:
            text = str(exc) if isinstance(exc, Failed) else f"{type(exc).__name__}: {exc}"
            self.client.send(id=request, error={"code": -32602, "message": text})
        else:
            self.client.send(id=request, result=result)
        finally:
            self.client.cancelled.pop(request, None)

    def take(self, message: dict[str, Any]) -> None:
        """A message has come."""
        method = message.get("method")
        if method is None:
            self.client.answered(message)
        elif method == "notifications/cancelled":
            event = self.client.cancelled.get((message.get("params") or {}).get("requestId"))
            if event is not None:
                event.set()
        elif "id" in message and method == "tools/call":
            self.client.cancelled[message["id"]] = threading.Event()
            threading.Thread(target=self.reply, args=(message,), daemon=True).start()
        elif "id" in message:
            self.reply(message)


def _resource(note: dict[str, Any]) -> dict[str, Any]:
    return {"uri": f"note://{note['id']}", "name": note["text"], "mimeType": "text/plain"}


def main() -> None:
    """Serve standard input until it ends."""
    server = Server(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    for line in sys.stdin.buffer:  # UTF-8, whatever the system takes text for
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            server.take(message)


if __name__ == "__main__":
    main()
