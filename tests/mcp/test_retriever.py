"""ToolsRetriever and ToolsBundle: registry, ranking, merging with embeddings, threads."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

import pytest

pytest.importorskip("mcp")

from aionest.mcp import Tool
from aionest.mcp.catalog import ToolsBundle
from aionest.mcp.catalog.retriever import ToolsRetriever, words


@dataclass
class Entry:
    name: str
    description: str


ENTRIES = [
    Entry("git__status", "Show the working tree's state"),
    Entry("git__commit", "Record changes to the repository"),
    Entry("weather__getForecast", "Weather for the next days in a city"),
    Entry("files__read_file", "Read the contents of files from disk"),
    Entry("files__list_directories", "List what a folder has"),
    Entry("db__runQueries", "Execute SQL against the database"),
]


@pytest.fixture
def retriever():
    found = ToolsRetriever()
    found.add_batch(ENTRIES)
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("getHTTPResponseCodes2", ["get", "http", "response", "code", "2"]),
        ("read_file-name", ["read", "file", "name"]),
        ("queries boxes classes status", ["query", "box", "class", "status"]),
        ("Größe Café", ["grösse", "café"]),
        ("天気予報", ["天気", "気予", "予報"]),
        ("", []),
    ],
)
def test_words(text, found):
    assert words(text) == [word.casefold() for word in found]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("forecasts", "weather__getForecast"),
        ("what is the weather in Oslo", "weather__getForecast"),
        ("read a file", "files__read_file"),
        ("directory", "files__list_directories"),
        ("database query", "db__runQueries"),
        ("repo", "git__commit"),
        ("status", "git__status"),
    ],
)
def test_search(retriever, query, first):
    scores = [score for score, _ in retriever.search(query)]
    assert retriever.search(query)[0][1].name == first
    assert scores == sorted(scores, reverse=True) and min(scores) > 0


def test_limits(retriever):
    assert retriever.search("zzz") == [] == retriever.search("") == ToolsRetriever().search("x")
    assert len(retriever.search("git", 1)) == 1 and retriever.search("git", 0) == []
    retriever.retrieve_max_num = 1
    assert len(retriever.retrieve("git files")) == 1
    retriever.retrieve_min_score = 1000
    assert retriever.retrieve("git") == []


def test_the_registry(retriever):
    assert retriever.get("git__status") is ENTRIES[0] and retriever.get("no") is None
    assert retriever.get_batch(["no", "git__commit"]) == [None, ENTRIES[1]]
    assert retriever.get_all() == ENTRIES and "git__commit" in retriever
    assert retriever.remove("git__commit") and not retriever.remove("git__commit")
    assert [e.name for e in retriever.retrieve("git")] == ["git__status"]
    retriever.cleanup()
    assert retriever.get_all() == [] == retriever.retrieve("git")


@pytest.mark.parametrize("wrong", [Entry("git__status", "again"), Entry("new", " "), Entry("new", None)])
def test_what_is_refused(retriever, wrong):
    with pytest.raises(ValueError):
        retriever.add(wrong)
    with pytest.raises(ValueError):
        retriever.add_batch([Entry("fine", "fine"), wrong])
    with pytest.raises(ValueError):
        retriever.add_batch([Entry("twice", "a"), Entry("twice", "b")])
    assert retriever.get_all() == ENTRIES


def test_the_list_of_names(retriever):
    names = retriever.list()
    assert names == [tool.name for tool in retriever.get_all()]
    retriever.remove(names[0])
    assert retriever.list() == names[1:]


def test_bundles():
    tools = {name: Tool(f"git__{name}", "git", name, description=f"do a {name}") for name in ("push", "pull")}
    bundle = ToolsBundle("git", {tool.name: tool for tool in tools.values()})
    assert bundle.description == "push: do a push\npull: do a pull"
    assert list(bundle) == bundle.get_all() == list(tools.values()) and len(bundle) == 2
    assert bundle.get("git__push") is bundle.get("push") is tools["push"] and "pull" in bundle and "x" not in bundle
    retriever = ToolsRetriever()
    retriever.add(bundle)
    assert retriever.retrieve("push") == [bundle]
    assert retriever.retrieve("push", expand=True) == list(tools.values())


def test_as_a_function_and_as_a_tool(retriever):
    assert retriever("weather") == [{"name": "weather__getForecast", "description": ENTRIES[2].description}]
    tool = retriever.to_tool()
    assert tool.name == "tools_retriever" and tool.read_only
    assert "weather__getForecast" in tool(query="weather").text
    assert asyncio.run(tool.call_async(query="weather")).structured == {"result": retriever("weather")}


def test_embeddings_find_what_words_do_not():
    topics = [("umbrella", "weather", "forecast"), ("git", "repository")]
    asked = []

    def embed(texts):
        asked.append(list(texts))
        return [[float(any(word in text.lower() for word in topic)) for topic in topics] for text in texts]

    retriever = ToolsRetriever(embed=embed)
    retriever.add_batch(ENTRIES)
    assert [entry.name for entry in retriever.retrieve("umbrella")] == ["weather__getForecast"]
    assert {entry.name for entry in retriever.retrieve("git sql")} == {"git__status", "git__commit", "db__runQueries"}
    assert len(asked) == 3


def test_a_broken_embedding_registers_nothing():
    retriever = ToolsRetriever(embed=lambda texts: [])
    with pytest.raises(ValueError, match="0 vectors for 1"):
        retriever.add(ENTRIES[0])
    assert retriever.get_all() == []


def test_threads():
    retriever = ToolsRetriever(embed=lambda texts: [[1.0, float(len(t))] for t in texts])
    failures, clashes = [], []

    def work(number):
        try:
            for i in range(30):
                retriever.add(Entry(f"tool_{number}_{i}", "does things"))
                assert retriever.search("things")
                retriever.remove(f"tool_{number}_{i - 1}")
                try:
                    retriever.add(Entry(f"shared_{i}", "the same for all"))
                except ValueError as exc:
                    clashes.append(exc)
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and len(clashes) == 90
    assert len(retriever.get_all()) == 4 + 30
