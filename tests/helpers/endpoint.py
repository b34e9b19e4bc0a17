"""What answers as an OpenAI-compatible endpoint does: in events, as it is told to."""

from __future__ import annotations

import json

from web import Quiet


def events(*chunks, done=True):
    """The bytes of a streamed answer."""
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return "".join([*lines, *(["data: [DONE]\n\n"] if done else [])]).encode()


def delta(finish=None, **parts):
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish}]}


def fragment(index, id=None, name=None, arguments=""):
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"index": index, **({"id": id} if id else {}), "function": function}


def calling(name, arguments, id="c1"):
    """An answer that proposes a call, in fragments."""
    return events(
        delta(role="assistant", content=None),
        delta(tool_calls=[fragment(0, id, name)]),
        *(delta(tool_calls=[fragment(0, arguments=letter)]) for letter in arguments),
        delta("tool_calls"),
    )


SAYING = events(delta(role="assistant", content=""), delta(content="Hello "), delta(content="there é"), delta("stop"))


class Handler(Quiet):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.requests.append({"path": self.path, "authorization": self.headers.get("Authorization"), **body})
        answer = server.answers.pop(0)
        status, data, kind = answer if isinstance(answer, tuple) else (200, answer, "text/event-stream")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
        if server.hold:
            self.connection.settimeout(30)
            server.closed.append(self.connection.recv(1))  # nothing: the client has closed its end
