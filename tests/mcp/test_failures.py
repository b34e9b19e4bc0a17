"""What a failure is, told by its class, however deep it is in groups, causes and contexts."""

from __future__ import annotations

import asyncio
import socket

import pytest

pytest.importorskip("mcp")

import anyio

from aionest.mcp import AuthError, CallTimeout, ProtocolError, ServerLost, ServerUnavailable, sdk
from aionest.mcp.errors import NotSent, Refused, ServerExited, Unanswerable
from aionest.mcp.sdk import Failure, classify, explain
from aionest.mcp.sdk.line import HTTP, OAuthFlowError, SDKError, types


def rpc(code, message="said"):
    data = types.ErrorData(code=code, message=message)
    return SDKError(code=code, message=message) if sdk.V2 else SDKError(data)


def dns():
    failure = HTTP.ConnectError("[Errno -2]")
    failure.__cause__ = socket.gaierror(-2, "what the system says, in any language")
    return failure


def status(code):
    request = HTTP.Request("POST", "http://host/mcp")
    return HTTP.HTTPStatusError("no", request=request, response=HTTP.Response(code, request=request))


def invalid():
    with pytest.raises(ValueError) as caught:
        types.Tool.model_validate({"name": 5})
    return caught.value


FAILURES = [
    (status(401), Failure.AUTH, AuthError),
    (Refused(403), Failure.AUTH, AuthError),
    (OAuthFlowError("no"), Failure.AUTH, AuthError),
    (Refused(500), Failure.HTTP, ServerUnavailable),
    (Refused(404), Failure.SESSION, ServerUnavailable),
    (dns(), Failure.DNS, ServerUnavailable),
    (HTTP.ConnectError("All connection attempts failed"), Failure.REFUSED, ServerUnavailable),
    (ConnectionRefusedError(), Failure.REFUSED, ServerUnavailable),
    (HTTP.ConnectTimeout(""), Failure.REFUSED, ServerUnavailable),
    (HTTP.ReadTimeout(""), Failure.TIMEOUT, CallTimeout),
    (HTTP.PoolTimeout(""), Failure.TIMEOUT, CallTimeout),
    (HTTP.ReadError(""), Failure.LOST, ServerLost),
    (HTTP.RemoteProtocolError(""), Failure.LOST, ServerLost),
    (FileNotFoundError(2, "No such file", "missing"), Failure.COMMAND, ServerUnavailable),
    (ServerExited(3, ""), Failure.EXITED, ServerUnavailable),
    (NotSent(), Failure.UNSENT, ServerLost),
    (Unanswerable("it asks too much"), Failure.RPC, ProtocolError),
    (rpc(-32602), Failure.RPC, ProtocolError),
    (rpc(-32000), Failure.LOST, ServerLost),
    (rpc(408), Failure.TIMEOUT, CallTimeout),
    (invalid(), Failure.RPC, ProtocolError),
    (anyio.ClosedResourceError(), Failure.LOST, ServerLost),
    (anyio.EndOfStream(), Failure.LOST, ServerLost),
    (ConnectionResetError(), Failure.LOST, ServerLost),
    (TimeoutError(), Failure.TIMEOUT, CallTimeout),
    (RuntimeError("Invalid schema for tool x"), Failure.OTHER, ServerUnavailable),
]


@pytest.mark.parametrize(
    "failure, kind, error", FAILURES, ids=lambda one: getattr(one, "name", None) or type(one).__name__
)
def test_what_a_failure_is(failure, kind, error):
    assert classify(failure) == (kind, failure)
    outer = RuntimeError("what came of it")
    outer.__cause__ = failure
    assert kind is Failure.OTHER or classify(outer) == (kind, failure)
    told = explain(failure, "one")
    assert type(told) is error and told.server == "one" and "'one'" in str(told)


def test_the_end_of_the_process_says_more_than_the_pipe():
    lost = anyio.BrokenResourceError()
    lost.__context__ = ServerExited(7, "")
    assert classify(lost)[0] is Failure.EXITED


def test_what_was_handled_before_has_nothing_to_do_with_it():
    before = Refused(401)
    failure = anyio.ClosedResourceError()
    failure.__context__ = before
    assert classify(failure, before)[0] is Failure.LOST


@pytest.mark.parametrize("by_sdk", [True, False])
def test_only_a_runtime_error_of_the_sdks_session_is_about_the_answer(by_sdk):
    class Session:
        direct = None

        async def call_tool(self, *args, **keywords):
            name = "mcp.client.session" if by_sdk else "somebody.elses"
            exec("raise RuntimeError('does not fit')", {"__name__": name})

    with pytest.raises(Unanswerable if by_sdk else RuntimeError, match="does not fit") as caught:
        asyncio.run(sdk.call_tool(Session(), "a", {}, None))
    assert by_sdk is isinstance(caught.value, Unanswerable)
