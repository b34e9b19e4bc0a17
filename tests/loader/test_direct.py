"""Tool calls that go past the SDK's models and streams (1.x, pipes): the same on the wire and the same outcomes as the SDK's."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import functools
import gc
import json
import math
import sys
import uuid
import warnings
from pathlib import Path

import pytest
from servers import SERVER

pytest.importorskip("mcp")

from aionest.mcp import sdk

if sdk.V2:
    pytest.skip("the 2.x line has a dispatcher: see test_dispatcher.py", allow_module_level=True)

from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import ClientSession, McpError, types
from pydantic import BaseModel, Field

from aionest.mcp.sdk.shortcut_v1 import Direct

ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    plain: int | None = None
    renamed: int = Field(1, serialization_alias="other")


@dataclasses.dataclass
class Record:
    a: object = None


class Pipe:
    """Both ends: keeps what is sent, and answers nothing by itself."""

    direct = None

    def __init__(self):
        self.lines = []

    async def send_line(self, data):
        self.lines.append(data)

    async def send(self, item):
        self.lines.append(sdk.encode(item))

    async def aclose(self): ...


def made():
    pipe = Pipe()
    return sdk.Session(pipe, pipe), pipe


leaf = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from(
        [
            math.inf,
            datetime.datetime(2026, 1, 2, 3, 4, 5),
            datetime.timedelta(days=1, seconds=5),
            Path("a/b"),
            Colour.RED,
            uuid.UUID(int=5),
            Model(),
            Record(),
            Record(Model(plain=3)),
            object(),
            2j,
            "\ud800",
        ]
    )
)
value = st.recursive(
    leaf,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=4) | st.integers() | st.none(), inner, max_size=3)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=8,
)


async def outcome(pipe, call):
    """The message that was sent, or the error."""
    task = asyncio.ensure_future(call)
    for _ in range(20):
        if pipe.lines or task.done():
            break
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return json.loads(pipe.lines.pop())
    except Exception as exc:
        return type(exc), str(exc)
    raise AssertionError("nothing has answered it")


async def progress(*args): ...


def test_the_request_is_the_sdks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK's: see below
        check_request()
        gc.collect()


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(max_size=5) | st.integers(), value, max_size=4), st.sampled_from([None, progress]))
def check_request(arguments, listener):
    async def main():
        session, pipe = made()
        assert session.direct is not None
        sdk = await outcome(pipe, session.call_tool("t", arguments, progress_callback=listener))
        session._response_streams.clear()  # the SDK leaves its own there, open, if it could not write the arguments
        session._request_id = 0
        mine = await outcome(pipe, session.direct.call("t", arguments, progress_callback=listener))
        assert mine == sdk
        assert not session._response_streams and not session._progress_callbacks

    asyncio.run(main())


def answered(*lines):
    """What a call gets when these lines come in: a result, or an error; and whether each was taken."""

    async def main():
        session, pipe = made()
        call = asyncio.ensure_future(session.direct.call("t", {}))
        await asyncio.sleep(0)
        session._tool_output_schemas["t"] = None
        taken = [session.direct.take(line) for line in lines]
        if not any(taken):
            call.cancel()
        try:
            return taken, await call
        except asyncio.CancelledError:
            return taken, None
        except Exception as exc:
            return taken, exc

    return asyncio.run(main())


RESULT = b'{"content":[{"type":"text","text":"hi"}],"isError":false}'


def test_an_answer_is_taken():
    taken, result = answered(b'{"jsonrpc":"2.0","id":0,"result":%s}' % RESULT)
    assert taken == [True] and result.content[0].text == "hi"


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"\xff",
        b"[]",
        b"1",
        b'{"jsonrpc":"2.0","id":"0","result":%s}' % RESULT,  # the SDK takes it for the number
        b'{"jsonrpc":"2.0","id":false,"result":%s}' % RESULT,
        b'{"jsonrpc":"2.0","id":0.0,"result":%s}' % RESULT,
        b'{"jsonrpc":"2.0","id":[],"result":%s}' % RESULT,
        b'{"jsonrpc":"2.0","id":1,"result":%s}' % RESULT,
        b'{"jsonrpc":"1.0","id":0,"result":%s}' % RESULT,
        b'{"id":0,"result":%s}' % RESULT,
        b'{"jsonrpc":"2.0","id":0,"result":1}',
        b'{"jsonrpc":"2.0","id":0,"method":"ping","result":%s}' % RESULT,
        b'{"jsonrpc":"2.0","id":0,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"no"}}',
    ],
)
def test_all_else_is_the_sessions(line):
    assert answered(line) == ([False], None)


def test_a_wrong_result_is_refused_as_the_sdk_does():
    taken, exc = answered(b'{"jsonrpc":"2.0","id":0,"result":{"content":1}}')
    assert taken == [True] and type(exc).__name__ == "ValidationError"


def test_once():
    line = b'{"jsonrpc":"2.0","id":0,"result":%s}' % RESULT
    assert answered(line, line)[0] == [True, False]


def test_the_sessions_own_way_ends_the_call_too():
    async def main(answer):
        session, _ = made()
        call = asyncio.ensure_future(session.direct.call("t", {}))
        await asyncio.sleep(0)
        session._tool_output_schemas["t"] = None
        await session._handle_response(sdk.parse(answer))
        return await call

    result = asyncio.run(main(b'{"jsonrpc":"2.0","id":"0","result":%s}' % RESULT))
    assert result.content[0].text == "hi"
    with pytest.raises(McpError, match="out of order"):
        asyncio.run(main(b'{"jsonrpc":"2.0","id":0,"error":{"code":5,"message":"out of order"}}'))


@pytest.mark.parametrize("method", ["call_tool", "send_request"])
@pytest.mark.parametrize("how", ["wrapped", "replaced", "later"])
def test_who_has_wrapped_the_sdk_sees_the_calls(make_loader, monkeypatch, method, how):
    """As tracers do."""
    loader = make_loader(ONE) if how == "later" else None
    seen = []
    original = getattr(ClientSession, method)

    async def watched(self, *args, **keywords):
        seen.append(args[0])
        return await original(self, *args, **keywords)

    monkeypatch.setattr(ClientSession, method, watched if how == "replaced" else functools.wraps(original)(watched))
    loader = loader or make_loader(ONE)
    seen.clear()
    assert loader.call("one.echo", {"text": "hi"}).text == "hi"
    assert len(seen) == 1 and (seen[0] == "echo" or isinstance(seen[0].root, types.CallToolRequest))


def test_an_sdk_that_keeps_its_requests_otherwise(make_loader, monkeypatch):
    monkeypatch.setattr(Direct, "of", classmethod(lambda cls, *args: None))
    loader = make_loader(ONE)
    assert loader.call("one.echo", {"text": "hi"}).text == "hi"


def test_an_unknown_sdk_is_left_alone():
    async def main():
        session, pipe = made()
        for name in ("_request_id", "_response_streams", "_progress_callbacks", "_session_read_timeout_seconds"):
            kept = getattr(session, name)
            setattr(session, name, "else")
            assert Direct.of(session, pipe, pipe) is None, name
            setattr(session, name, kept)
        assert Direct.of(session, object(), pipe) is None
        assert Direct.of(session, pipe, object()) is None
        assert Direct.of(session, pipe, pipe) is not None

    asyncio.run(main())
