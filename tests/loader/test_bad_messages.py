"""Messages that are none: what can be read is delivered, and what can't fails its request at once, never by its deadline."""

from __future__ import annotations

import json
import sys

import answering
import pytest
from answering import LONG
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import CallTimeout, ToolsError, sdk
from aionest.mcp.sdk.asked import Asked, Table, known
from aionest.mcp.sdk.mend import Mender, answered, looked_at, mend

# what a server writes instead of {"jsonrpc": "2.0", "id": ID, "result": ...}; and the text it should come to, or None: an error
ANSWERS = {
    "lone surrogate": (
        r'{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"cut \ud83d"}]}}',
        "cut \ufffd",
    ),
    "surrogate in a key": (
        r'{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"x"}],"_meta":{"\udc00":1}}}',
        "x",
    ),
    "control character": ('{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"a\x01b"}]}}', "a\x01b"),
    "no utf-8": ('{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"a\udcffb"}]}}', "a\ufffdb"),
    "byte order mark": ('\ufeff{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"b"}]}}', "b"),
    "in a list": ('[{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"l"}]}}]', "l"),
    "after another on its line": (
        '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}} '
        '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"two"}]}}',
        "two",
    ),
    "id as text": ('{"jsonrpc":"2.0","id":"ID","result":{"content":[{"type":"text","text":"t"}]}}', "t"),
    "no id": ('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}', None),
    "cut": ('{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","te', None),
    "cut, the id at the end": ('"text":"x"}]},"jsonrpc":"2.0","id":ID}', None),
    "bad escape": (r'{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"\x"}]}}', None),
    "bad number": ('{"jsonrpc":"2.0","id":ID,"result":{"content":[],"n":1.2.3}}', None),
    "result is text": ('{"jsonrpc":"2.0","id":ID,"result":"fine"}', None),
    "result is null": ('{"jsonrpc":"2.0","id":ID,"result":null}', None),
    "neither result nor error": ('{"jsonrpc":"2.0","id":ID}', None),
    "error is text": ('{"jsonrpc":"2.0","id":ID,"error":"no"}', None),
    "another revision": ('{"jsonrpc":"1.0","id":ID,"result":{"content":[]}}', None),
    "deep": ('{"jsonrpc":"2.0","id":ID,"result":' + '{"a":' * 5000 + "1" + "}" * 5000 + "}", None),
    "python": (
        "{'jsonrpc': '2.0', 'id': ID, 'result': {'content': [{'type': 'text', 'text': \"it's\"}], 'x': None}}",
        None,
    ),
    "javascript": ("{ jsonrpc: '2.0', id: ID, result: { content: [ [Object] ] } }", None),
    "javascript over lines": ("{\n  jsonrpc: '2.0',\n  id: ID,\n  result: { content: [ [Object] ] }\n}", None),
    "id with a point": ('{"jsonrpc":"2.0","id":ID.0,"result":{"content":[{"type":"text","text":"p"}]}}', "p"),
    "behind a log line": (
        'INFO {x: 1} done{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"log"}]}} # {',
        "log",
    ),
    "behind a cut answer": (
        '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"ty{"jsonrpc":"2.0","id":ID,"result":{"content":[]}}',
        "any",
    ),
    "method repeated": (
        '{"jsonrpc":"2.0","id":ID,"method":"tools/call","params":{},"result":{"content":[{"type":"text","text":"m"}]}}',
        "m",
    ),
    "error with the method": (
        '{"jsonrpc":"2.0","id":ID,"method":"tools/call","error":{"code":7,"message":"no"}}',
        None,
    ),
    "in capital letters": ('{"JsonRpc":"2.0","Id":ID,"Result":{"content":[{"type":"text","text":"N"}]}}', "N"),
    "in a list of a list": ('[[{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"ll"}]}}]]', "ll"),
    "JSON in JSON": (
        r'"{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"j\"}]}}"',
        "j",
    ),
    "a number that was never given": ('{"jsonrpc":"2.0","id":9ID00,"error":{"code":7,"message":"no"}}', None),
    "a name for a number": ('{"jsonrpc":"2.0","id":"server-error","error":{"code":7,"message":"no"}}', None),
    "a negative number": ('{"jsonrpc":"2.0","id":-1,"error":{"code":7,"message":"no"}}', None),
    "nobody's error": ('{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"boom"}}', None),
    "huge number": (
        '{"jsonrpc":"2.0","id":ID,"result":{"content":[],"n":' + "9" * 6000 + "}}",
        "any",
    ),  # as this Python has it
}

SERVER = """
import json, os, sys
answers = json.load(open(sys.argv[1]))
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    method, said = m["method"], None
    if method == "tools/call":
        said = answers.get(m["params"]["name"])
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in [*answers, "good"]]},
         "tools/call": {"content": [{"type": "text", "text": "fine"}]}}.get(method, {})
    line = said.replace("ID", str(m["id"])) if said else json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r})
    sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\\n")
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def pipe(make_loader, tmp_path):
    def make(**answers):
        (tmp_path / "server.py").write_text(SERVER)
        (tmp_path / "answers.json").write_text(json.dumps(answers))
        args = [str(tmp_path / "server.py"), str(tmp_path / "answers.json")]
        return make_loader({"s": {"command": sys.executable, "args": args, "timeout": LONG, "protocol": "legacy"}})

    return make


@pytest.fixture
def web(make_loader):
    with answering.serving(make_loader) as make:
        yield make


def encoded(said, number):
    return said.replace("ID", number).encode("utf-8", "surrogateescape")


def stays_open(handler, data):
    """A stream of events that does not end after these."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(data)
    handler.wfile.flush()
    handler.server.stop.wait(60)
    handler.close_connection = True


def judge(loader, tool, text):
    if text is None:
        with pytest.raises(ToolsError) as caught:
            loader.call(tool)
        assert not isinstance(caught.value, CallTimeout)
        assert "s" in str(caught.value)
    else:
        try:
            found = loader.call(tool).text
        except ToolsError as exc:
            assert text == "any" and not isinstance(exc, CallTimeout), exc
        else:
            assert text in ("any", found)
    assert loader.call("s.good").text == "fine", "the session goes on"
    assert loader.status["s"].connections == 1


def judge_all(loader, but=()):
    """Of each of the ANSWERS, by a tool of its name."""
    for which, (_, text) in ANSWERS.items():
        if which not in but:
            print(which)
            judge(loader, f"s.{which}", text)


def test_on_a_pipe(pipe):
    judge_all(pipe(**{which: said for which, (said, _) in ANSWERS.items()}))


# answers that are no text in UTF-8: what a server writes, after its answer is encoded, and the text that comes of it
WIDE = {
    **{name: (name, "gr\xfc\xdfe \u0442 \U0001f600") for name in ("utf-16-be", "utf-32-be", "utf-16-le", "utf-32-le")},
    "utf-16": ("utf-16", "mark"),
    "utf-32": ("utf-32", "mark"),
    "a newline's byte in a character": ("utf-16-le", "\u010a"),
}
WIDE_SERVER = """
import json, sys
answers = json.load(open(sys.argv[1]))
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    name = m.get("params", {}).get("name")
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in [*answers, "good"]]},
         "tools/call": {"content": [{"type": "text", "text": answers.get(name, ["", "fine"])[1]}]}}.get(m["method"], {})
    line = json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}, ensure_ascii=False) + "\\n"
    sys.stdout.buffer.write(line.encode(sys.argv[2] if sys.argv[2:] else answers.get(name, ["utf-8"])[0]))
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def wide(make_loader, tmp_path):
    def make(*encoding):
        (tmp_path / "server.py").write_text(WIDE_SERVER)
        (tmp_path / "answers.json").write_text(json.dumps(WIDE))
        args = [str(tmp_path / "server.py"), str(tmp_path / "answers.json"), *encoding]
        return make_loader({"s": {"command": sys.executable, "args": args, "timeout": LONG, "protocol": "legacy"}})

    return make


def test_wide_characters_on_a_pipe(wide):
    loader = wide()
    for which, (_, text) in WIDE.items():
        judge(loader, f"s.{which}", None if "newline" in which else text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_server_that_writes_nothing_but_wide_characters(wide, encoding):
    loader = wide(encoding)
    assert loader.call("s.utf-16-be").text == WIDE["utf-16-be"][1]
    assert loader.call("s.good").text == "fine"
    assert not loader.status["s"].stderr, "no line was taken for junk"


def test_wide_characters_over_http(web):
    def answers(name, text):
        said = json.dumps(
            {"jsonrpc": "2.0", "id": 0, "result": {"content": [{"type": "text", "text": text}]}}, ensure_ascii=False
        )
        return lambda handler, number: handler.reply(200, said.replace(": 0", f": {number}").encode(name))

    loader = web({which: answers(*said) for which, said in WIDE.items()})
    for which, (_, text) in WIDE.items():
        judge(loader, f"s.{which}", text)


TOGETHER = """
import json, sys
bad = json.loads(sys.argv[1])
calls = []
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("bad", "good")]},
         "tools/call": {"content": [{"type": "text", "text": "fine"}]}}.get(m["method"], {})
    if m["method"] == "tools/call" and m["params"]["arguments"].get("together"):
        calls.append(m["id"])
        if len(calls) == 2:
            sys.stdout.buffer.write(bad.encode("latin-1") + b"\\n")
            sys.stdout.buffer.flush()
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
"""
NOBODYS = {
    "no id": '{"jsonrpc":"2.0","result":{"content":[]}}',
    "cut before it": '{"jsonrpc":"2.0","result":{"content":[',
    "cut at once": '{"jsonrpc":"2.0","i',
    "python without id": "{'jsonrpc': '2.0', 'result': {'content': []}}",
    "what cannot be read": '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}',
    "any error": '{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"boom"}}',
    "a number of its own": '{"jsonrpc":"2.0","id":12345,"result":{"content":[]}}',
    "a name": '{"jsonrpc":"2.0","id":"server-error","error":{"code":-32602,"message":"boom"}}',
    "binary": "\x83\xa7jsonrpc\xa32.0\xa2id\x03\xa6result\x81\xa7content\x90",
    "headers": "Content-Length: 100\r",
}


@pytest.mark.parametrize("which", NOBODYS)
def test_an_answer_that_cannot_be_told_from_others_fails_all_that_wait(make_loader, tmp_path, which):
    (tmp_path / "server.py").write_text(TOGETHER)
    args = [str(tmp_path / "server.py"), json.dumps(NOBODYS[which])]
    loader = make_loader({"s": {"command": sys.executable, "args": args, "timeout": LONG, "protocol": "legacy"}})
    calls = [loader.submit("s.bad", {"together": True}) for _ in range(2)]
    for one in calls:
        assert isinstance(one.exception(60), ToolsError) and not isinstance(one.exception(), CallTimeout)
    assert loader.call("s.good").text == "fine"


ALL_ANSWERED = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("held", "good")]},
         "tools/call": {"content": [{"type": "text", "text": "fine"}]}}.get(m["method"])
    if m["method"] == "tools/call" and m["params"]["name"] == "held": continue
    answer = {"result": r} if r else json.loads(sys.argv[1])
    print(json.dumps({"jsonrpc": "2.0", "id": m.get("id"), **answer}), flush=True)
"""
NO_METHOD = {"error": {"code": -32601, "message": "Method not found"}}


@pytest.mark.parametrize("answer", [NO_METHOD, {"error": {"code": -32600, "message": "no id"}}, {"result": {}}])
def test_a_server_that_answers_what_is_no_request_too(make_loader, tmp_path, answer):
    (tmp_path / "server.py").write_text(ALL_ANSWERED)
    args = [str(tmp_path / "server.py"), json.dumps(answer)]
    loader = make_loader({"s": {"command": sys.executable, "args": args, "timeout": LONG, "protocol": "legacy"}})
    assert not loader.errors and len(loader.tools) == 2
    cancelled, held = loader.submit("s.held"), loader.submit("s.held")
    assert loader.call("s.good").text == "fine", "both are there"
    cancelled.cancel()
    eventually(lambda: len(loader.status["s"].stderr) >= 2, "the note that it is cancelled is answered")
    assert loader.call("s.good").text == "fine"
    assert not held.done()
    held.cancel()


def test_what_a_server_logs_is_no_answer(pipe):
    good = '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"after"}]}}'
    logged = [
        '{"id":ID,"level":"info","msg":"called"}',
        '{"id":ID,"level":"info","error":"slow"}',
        '{"error":"slow"}',
        '{"result":5}',
        '{"id":ID,"level":"info","msg":"cut',
        "{'result': [1, 2]}",
    ]
    assert pipe(bad="\n".join([*logged, good])).call("s.bad").text == "after"


def test_what_a_server_says_in_an_error_that_is_none_is_told(pipe):
    loader = pipe(bad='{"jsonrpc":"2.0","id":ID,"error":{"code":"E_FULL","message":"the disk is full"}}')
    with pytest.raises(ToolsError, match="code.*valid integer.*the disk is full") as caught:
        loader.call("s.bad")
    assert "JSONRPC" not in str(caught.value), "what it would be as another kind of message is of no interest"


UNENDED = """
import json, sys, time
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": [{"name": "bad", "inputSchema": {"type": "object"}}]},
         "tools/call": {"content": [{"type": "text", "text": "fine"}]}}.get(m["method"], {})
    data = json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r})
    sys.stdout.write(data + sys.argv[1].replace("N", "\\n"))
    sys.stdout.flush()
    if "exit" in str(m.get("params", {}).get("arguments")): break
"""


@pytest.mark.parametrize("end", ["", "\r"])
def test_a_message_without_a_newline(make_loader, tmp_path, end):
    (tmp_path / "server.py").write_text(UNENDED)
    args = [str(tmp_path / "server.py"), end]
    loader = make_loader({"s": {"command": sys.executable, "args": args, "timeout": LONG, "protocol": "legacy"}})
    assert loader.call("s.bad").text == "fine"
    assert loader.call("s.bad", {"exit": 1}).text == "fine", "also at the end of its output"


def test_in_a_body(web):
    def answers(said):
        return lambda handler, number: handler.reply(200, encoded(said, number))

    judge_all(web({which: answers(said) for which, (said, _) in ANSWERS.items()}))


def test_in_an_event_of_a_stream_that_stays_open(web):
    def answers(said):
        return lambda handler, number: stays_open(handler, b"id: 1\r\ndata: " + encoded(said, number) + b"\r\n\r\n")

    # in a stream of events that is no message, and is left out
    judge_all(web({which: answers(said) for which, (said, _) in ANSWERS.items()}), but=["cut, the id at the end"])


NO_EVENTS = {
    "a message as it is": (lambda said: said.encode() + b"\n\n", "raw"),
    "utf-16": (lambda said: f"data: {said}\n\n".encode("utf-16"), None),
    "utf-16 without a mark": (lambda said: f"event: message\ndata: {said}\n\n".encode("utf-16-le"), None),
    "python": (lambda said: b"data: {'jsonrpc': '2.0', 'id': 3, 'result': None}\n\n", None),
    "log before it": (lambda said: f"data: done {said}\n\n".encode(), "raw"),
    "carriage returns": (lambda said: f"event: message\rdata: {said}\r\r".encode(), "raw"),
    "byte order mark": (lambda said: f"\ufeffdata: {said}\n\n".encode(), "raw"),
    "another name": (lambda said: f"event: result\nid: 1\ndata: {said}\n\n".encode(), "raw"),
}


def test_streams_of_what_are_no_events(web):
    def answers(make):
        said = '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"raw"}]}}'
        return lambda handler, number: stays_open(handler, make(said.replace("ID", number)))

    loader = web({which: answers(make) for which, (make, _) in NO_EVENTS.items()})
    for which, (_, text) in NO_EVENTS.items():
        print(which)
        judge(loader, f"s.{which}", text)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_an_event_that_ends_with_its_stream(web, end):
    said = '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"last"}]}}'

    def answers(handler, number):
        handler.reply(200, f"data: {said.replace('ID', number)}{end}".encode(), "text/event-stream")

    assert web(answers).call("s.bad").text == "last"


NO_ANSWERS = {
    "202": lambda h, n: h.reply(202, b"", kind=None),
    "204": lambda h, n: h.reply(204, b"", kind=None),
    "nothing": lambda h, n: h.reply(200, b"", kind=None),
    "empty": lambda h, n: h.reply(200, b""),
    "page": lambda h, n: h.reply(200, b"<html>Welcome</html>", "text/html"),
    "page as JSON": lambda h, n: h.reply(200, b"<html>Welcome</html>"),
    "no answer": lambda h, n: h.reply(200, b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'),
    "no gzip": lambda h, n: h.reply(200, b"not gzip", Content_Encoding="gzip"),
}


def test_no_answer_over_http(web):
    loader = web(NO_ANSWERS)
    for which in NO_ANSWERS:
        print(which)
        judge(loader, f"s.{which}", None)


@pytest.mark.parametrize("which", NO_ANSWERS)
def test_no_answer_at_connect(web, which):
    loader = web(NO_ANSWERS[which], at_once=True, connect_timeout=LONG)
    assert loader.failures["s"].code != "timeout"


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_body_that_is_cut(web, kind):
    loader = web(lambda handler, number: handler.reply(200, b'{"jsonrpc":"2.0",', kind, length=100))
    with pytest.raises(ToolsError) as caught:
        loader.call("s.bad")
    assert caught.value.code == "lost"
    assert loader.call("s.good").text == "fine"


def test_events_in_pieces_and_of_other_kinds_pass_as_they_are(web):
    answer = '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"\\ud83d\\ude00 x"}]}}'

    def pieces(handler, number):
        data = b": hello\r\n\r\nevent: ping\r\ndata: {}\r\n\r\ndata: alive\r\n\r\n" + (
            b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"\\udc00"}}\n\n'
        )
        begin, _, end = encoded(answer, number).partition(b",")
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for one in data + b"data: " + begin + b",\ndata: " + end + b"\r\n\r\n":
            handler.wfile.write(b"1\r\n%c\r\n" % one)
        handler.wfile.write(b"0\r\n\r\n")

    assert web(pieces).call("s.bad").text == "\U0001f600 x"


def test_a_message_over_several_lines(pipe):
    said = '{\n  "jsonrpc": "2.0",\n  "id": ID,\n  "result": {\n    "content": [\n      {"type": "text", "text": "l"}\n    ]\n  }\n}'
    judge(pipe(bad=said), "s.bad", "l")


def test_junk_that_tells_nothing_fails_nobody(pipe):
    good = '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"after"}]}}'
    junk = [
        "hello",
        "\u2192 jsonrpc result \udce4",
        "it's {a: 'result'}",
        "DEBUG {'id': ID, 'name': 'x'}",
        "{",
        "{'id': ID}",
        '{"id": ID',
        '"id": ID',
        "[1, 2]",
        '{"level": "info", "msg": "id"}',
        "7",
        '{"method":"x","id":ID',
    ]
    loader = pipe(bad="\n".join([*junk, good]))
    assert loader.call("s.bad").text == "after"


def test_what_is_told_of_a_broken_message():
    assert looked_at(b'{"result": {"id": 3}, "id": 4, "x') == ({"result", "id"}, 4)
    assert looked_at(b'{"result": {"id": 3') == ({"result"}, None)
    assert looked_at(b'{"id": 3') == ({"id"}, None), "it may have had more digits"
    assert looked_at(b"id: 3") == (set(), None)


def test_what_belongs_to_nobody_fails_nobody():
    cut = b'{"jsonrpc":"2.0","id":7,"result":{"a'
    assert mend(cut, known([1, 2])) == []
    assert json.loads(mend(cut, known([7, 8]))[0])["id"] == 7
    assert json.loads(mend(cut, known(None))[0])["id"] == 7
    nobody = b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}'
    assert mend(nobody, known(())) == [] and mend(nobody, known(None)) == []
    assert json.loads(mend(nobody, known([5]))[0])["id"] == 5
    assert [json.loads(one)["id"] for one in mend(nobody, known([1, 2]))] == [1, 2], "one of them would wait for ever"
    own = b'{"jsonrpc":"2.0","id":7,"method":"ping","params":"x"}'
    assert mend(own, known([7])) == [], "the server's own request"


def test_what_may_be_the_answer_to_no_request_fails_nobody():
    nobody = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"initialized?"}}'
    table = [Table([3], following=4, answered=2)]
    asked = Asked(lambda: table[0])
    asked.sent_other("initialized")
    assert mend(nobody, asked) == []
    assert len(mend(nobody, asked)) == 1, "there was one of these"
    asked.sent_other("initialized")
    table[0] = Table([3, 4], following=5, answered=2)
    assert mend(nobody, asked) == [], "the request after it is not answered yet"
    asked.sent_other("initialized")
    table[0] = Table([3, 4], following=6, answered=5)
    assert len(mend(nobody, asked)) == 2, "one after it is: nothing more comes for it"
    asked.sent_other("initialized")
    assert len(mend(nobody, asked)) == 2, "nor for any like it"
    asked.sent_other("cancelled")
    asked.answered(5)
    assert mend(nobody, asked) == []
    given = (0, 5, "5", "+5", 6, -1, "x", "9" * 5000)
    assert [asked.is_given(one) for one in given] == [True] * 4 + [False] * 4


def test_lines_between_do_not_end_up_in_a_message():
    mender = Mender(known([1]))
    assert mender.mend(b"{") == [] and mender.mend(b'"jsonrpc": "2.0",') == []
    assert mender.mend(b'{"jsonrpc":"2.0","id":1,"result":"x"}') != []
    assert mender.mend(b'"id": 1, "result": {}}') == [], "the beginning is forgotten"


def test_a_good_answer_is_passed_on_as_it_is():
    line = b'{"jsonrpc":"2.0","id":1,"result":{"a": 1}}'
    assert answered(line, 1) is line
    assert json.loads(answered(line, 2))["id"] == 2


def test_the_mended_line_is_what_the_sdk_takes():
    for said, _ in ANSWERS.values():
        for line in mend(encoded(said, "3"), known([3])):
            sdk.parse(line)
