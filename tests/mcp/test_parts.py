"""The parts of the loader by themselves: what is wanted against what is there, the catalog of tools, what feeds the retriever."""

from __future__ import annotations

import asyncio
import difflib
import logging
import time

import pytest

pytest.importorskip("mcp")

from aionest.mcp import ServerConfig, ToolNotFound, ToolsBundle, ToolsRetriever, UsageError
from aionest.mcp.catalog import Catalog, Feeder
from aionest.mcp.errors import with_stderr
from aionest.mcp.session.plan import Diff, plan
from aionest.mcp.wanted import CONFIGURATION, Wanted


def server(name, **fields):
    return ServerConfig(name=name, **{"command": "x", **fields})


def described(*names):
    return [{"name": name, "description": f"does {name}", "inputSchema": {"type": "object"}} for name in names]


# -- Catalog


def test_tools_have_unique_names_and_are_found_by_what_people_write():
    catalog = Catalog.of([(server("a"), described("x", "y")), (server("b"), described("x"))], caller=None)
    assert list(catalog.tools) == ["a__x", "a__y", "b__x"] and list(catalog.bundles) == ["a", "b"]
    for name in ("a__y", "a.y", "a/y", "y"):
        assert catalog.find(name, {}) is catalog.tools["a__y"]
    with pytest.raises(ToolNotFound, match="use a__x or b__x"):
        catalog.find("x", {})
    with pytest.raises(ToolNotFound, match=r"mean a__y.*unavailable servers: c \(it is off more\); load it"):
        catalog.find("a__yy", {"c": "it is off\nmore"}, "; load it")
    why = str(with_stderr("it ended with exit code 1", "Traceback:\nKeyError: 'TOKEN'\n"))
    with pytest.raises(ToolNotFound, match=r"servers: c \(it ended with exit code 1: KeyError: 'TOKEN'\)$"):
        catalog.find("c.x", {"c": why})


def test_what_the_settings_leave_out_is_not_in_it():
    one = server("a", include=["x*", "y"], exclude=["x2"])
    assert list(Catalog.of([(one, described("x1", "x2", "y", "z"))], None).tools) == ["a__x1", "a__y"]


def test_a_server_that_describes_a_tool_twice_has_it_once_and_one_without_tools_has_no_bundle():
    catalog = Catalog.of([(server("a"), described("x", "x")), (server("b"), [])], None)
    assert list(catalog.tools) == ["a__x"] and list(catalog.bundles) == ["a"]


def test_the_time_for_a_catalog_grows_with_the_number_of_tools_only():
    def seconds(number):
        tools = described(*[f"tool_{i}" for i in range(number)])
        begin = time.process_time()
        Catalog.of([(server("a"), tools)], None)
        return time.process_time() - begin

    few = min(seconds(1000) for _ in range(3))
    assert min(seconds(8000) for _ in range(3)) / few < 25, "8 times as many"


def test_servers_of_one_prefix_whose_names_make_another_ones():
    offers = [(one, described("x")) for one in (server("p_b"), server("a", prefix="p"), server("b", prefix="p"))]
    catalog = Catalog.of(offers, None)
    assert len(catalog.tools) == 3 and {tool.server for tool in catalog.tools.values()} == {"a", "b", "p_b"}


def test_long_names_are_not_compared_nor_told_whole(monkeypatch):
    compared = []
    close = difflib.get_close_matches
    monkeypatch.setattr(difflib, "get_close_matches", lambda *a: (compared.extend([a[0], *a[1]]), close(*a))[1])
    catalog = Catalog.of([(server("a"), described(*["x" * 20_000 + str(i) for i in range(100)], "find"))], None)
    for name in ("x" * 19_000, "fnd"):
        with pytest.raises(ToolNotFound) as caught:
            catalog.find(name, {})
        assert len(str(caught.value)) < 1000
    assert "did you mean find" in str(caught.value)
    assert max(map(len, compared)) < 200, "it takes time with the square of it"


def test_what_happened_to_a_server_is_told_in_one_line_but_whole():
    catalog = Catalog.of([], None)
    why = "server 'a': cannot start.\nThe licence is missing. Its stderr ends with:\nwarn\nlast words\n"
    with pytest.raises(ToolNotFound, match=r"cannot start\. The licence is missing: last words"):
        catalog.find("x", {"a": why})


def test_servers_with_one_prefix_stay_apart():
    catalog = Catalog.of([(server(name, prefix="p"), described("x")) for name in ("a", "b")], None)
    assert len(catalog.tools) == 2 and {tool.server for tool in catalog.tools.values()} == {"a", "b"}


# -- Plan


class Connection:
    def __init__(self, config, is_open=True, untried=False):
        self.config, self.is_open, self.untried = config, is_open, untried

    def settings_changed(self, config):
        return self.config.content_hash() != config.content_hash()


def test_a_plan_says_what_is_to_be_done_and_does_nothing():
    there = {
        "same": Connection(server("same")),
        "other": Connection(server("other")),
        "limits": Connection(server("limits")),
        "gone": Connection(server("gone")),
        "failed": Connection(server("failed"), is_open=False),
        "untried": Connection(server("untried"), is_open=False, untried=True),
    }
    wanted = {
        "same": server("same"),
        "other": server("other", command="y"),
        "limits": server("limits", timeout=5),
        "failed": server("failed"),
        "untried": server("untried"),
        "new": server("new"),
    }
    found = plan(wanted, there, everything=False)
    assert (found.added, found.changed, found.removed) == (["new"], ["other"], ["gone"])
    assert found.kept == ["same", "limits", "failed", "untried"] and found.updated == ["limits"]
    assert found.opened == ["untried"] and found.woken == ["failed"] and found.is_change
    assert plan(wanted, there, everything=True).opened == ["failed", "untried"]
    assert there["limits"].config.timeout == 60


def test_nothing_to_do():
    there = {"a": Connection(server("a"))}
    assert (
        not plan({"a": server("a")}, there, everything=True).is_change and not Diff(kept=("a",)) and Diff(added=("b",))
    )


# -- Feeder


def bundles(**names):
    catalog = Catalog.of([(server(name), described(*tools)) for name, tools in names.items()], None)
    return catalog.bundles


def feed(feeder, what):
    async def main():
        feeder.publish(what)
        await feeder.settle(30)

    asyncio.run(main())


def test_the_retriever_is_kept_in_step_and_others_entries_stay():
    retriever = ToolsRetriever()
    theirs = ToolsBundle("b", bundles(b=["theirs"])["b"].tools)
    retriever.add(theirs)
    feeder = Feeder(retriever)
    feed(feeder, bundles(a=["x"], b=["y"]))
    assert retriever.list() == ["b", "a"] and retriever.get("b") is theirs
    assert list(feeder.errors) == ["b"] and "another entry 'b'" in feeder.errors["b"]
    retriever.remove("b")
    assert feeder.retry()
    feed(feeder, bundles(b=["z"]))  # on another loop
    assert retriever.list() == ["b"] and not feeder.errors and not feeder.retry()
    retriever.remove("b")
    retriever.add(theirs)
    feed(feeder, {})
    assert retriever.get("b") is theirs


def test_a_retriever_that_fails_for_one_gets_the_others_and_it_is_said_once(caplog):
    class Picky(ToolsRetriever):
        def add(self, tool, **_):
            if tool.name == "bad":
                raise OSError("no room")
            super().add(tool)

    feeder = Feeder(Picky())
    with caplog.at_level(logging.WARNING, logger="aionest.mcp"):
        for _ in range(2):
            feed(feeder, bundles(bad=["x"], good=["y"]))
    assert feeder.retriever.list() == ["good"] and feeder.errors == {"bad": "OSError: no room"}
    assert caplog.text.count("could not update the retriever's entry for server 'bad'") == 1


def test_without_a_retriever_nothing_is_fed():
    feed(Feeder(None), bundles(a=["x"]))


# -- Wanted


def test_the_servers_that_were_chosen(tmp_path):
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"a": {"command": "x"}, "b": {"command": "y"}, "c": {}}}')
    wanted = Wanted(None, file, None, ["a", "c"])
    assert wanted.read() and list(wanted.servers()) == ["a"] and list(wanted.errors) == ["c"]
    file.write_text('{"mcpServers": {"a": {"command": "x", "timeout": 5}}}')
    assert wanted.read() and wanted.servers()["a"].timeout == 5 and not wanted.errors
    file.write_text("{")
    assert wanted.read() and wanted.is_unreadable and list(wanted.errors) == [CONFIGURATION]


def test_a_file_that_was_only_found_may_not_be_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCP_FILE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"a": {"command": "x"}}}')
    found, named = Wanted(None, None, None, None), Wanted(None, "mcp.json", None, None)
    assert not found.read() and "not been accepted" in found.errors[CONFIGURATION]
    with pytest.raises(UsageError, match="not been accepted"):
        found.server("a")
    assert named.read() and named.server("a").command == "x"
    with pytest.raises(UsageError, match="there are: a"):
        named.server("b")


@pytest.mark.parametrize("both", [{"config_file": "mcp.json"}, {"inputs": {"a": "b"}}])
def test_what_contradicts(both):
    from aionest.mcp import ToolsConfig

    given = {"config_file": None, "inputs": None, **both}
    with pytest.raises(UsageError, match="not both|give inputs to"):
        Wanted(ToolsConfig(None), given["config_file"], given["inputs"], None)
