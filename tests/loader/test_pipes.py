"""Tool calls over pipes go past the SDK's models and streams, on both its lines. (Each line's own: test_direct, test_dispatcher.)"""

from __future__ import annotations

import sys

import pytest
from servers import SERVER

pytest.importorskip("mcp")

from aionest.mcp import ProtocolError, ServerLost

ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}


def test_calls_go_this_way(make_loader, taken):
    loader = make_loader(ONE)
    taken.clear()
    assert [loader.call("one.echo", {"text": str(n)}).text for n in range(10)] == [str(n) for n in range(10)]
    assert taken == [True] * 10
    assert loader.call("one.fail", {"message": "so"}).is_error
    with pytest.raises(ProtocolError):
        loader.call("one.promised", {})


def test_progress_comes_before_the_result(make_loader):
    told = []
    loader = make_loader(ONE)
    for _ in range(20):
        told.clear()
        # one after the other without a pause: they and the result come in as one piece
        result = loader.call("one.progress", {"steps": 20, "delay": 0}, progress=lambda *args: told.append(args[0]))
        assert result.text == "done" and told == list(range(1, 21))


def test_the_end_of_the_server_ends_the_call(make_loader):
    loader = make_loader(ONE)
    with pytest.raises(ServerLost):
        loader.call("one.die", {"code": 3})
    assert loader.call("one.echo", {"text": "again"}).text == "again"
