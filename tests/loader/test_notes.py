"""The server that ships with the package, by the loader."""

from __future__ import annotations

import struct
import sys

import pytest

pytest.importorskip("mcp")

from aionest.mcp import CallTimeout, ServerLost, ToolFailed, ToolsLoader


def notes(*args, **options):
    config = {"notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes", *map(str, args)]}}
    return ToolsLoader(config=config, **options)


@pytest.fixture
def loader():
    answers = iter([{"sure": False}, None, {"sure": True}])
    with notes(elicitation=lambda _: next(answers), sampling=lambda params: f"of {len(params.messages)}") as loader:
        yield loader


def texts(loader):
    return [one["text"] for one in loader.call("notes.list", check=True).structured["notes"]]


def test_notes_are_added_read_changed_found_and_removed(loader):
    kept = loader.call("notes.add", {"text": "Feed the cat", "tags": ["home"]}, check=True).structured
    assert loader.call("notes.read", {"id": kept["id"]}).text == "Feed the cat"
    loader.call("notes.edit", {"id": kept["id"], "text": "Feed the dog"}, check=True)
    found = loader.call("notes.search", {"words": "home dog"}, check=True)
    assert [block["type"] for block in found.content] == ["text", "resource_link"]
    assert found.content[1]["uri"] == f"note://{kept['id']}"
    loader.call("notes.remove", {"id": kept["id"]}, check=True)
    assert len(texts(loader)) == 3
    for name in ("read", "edit", "remove"):
        with pytest.raises(ToolFailed, match="there is no note"):
            loader.call(f"notes.{name}", {"id": kept["id"]}, check=True)


def test_resources_and_prompts(loader):
    assert [one["uri"] for one in loader.resources()["notes"]] == ["note://1", "note://2", "note://3"]
    assert loader.read_resource("notes", "note://2")[0]["text"] == "Call Ada about the engine"
    (message,) = loader.get_prompt("notes", "plan", {"day": "Friday", "tag": "home"})
    assert "Friday" in message["content"]["text"] and "milk" not in message["content"]["text"]


def test_progress_logs_and_a_picture(loader):
    steps = []
    loader.call("notes.words", progress=lambda done, total, message: steps.append((done, total)), check=True)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    ((kind, data),) = loader.call("notes.chart", check=True).images
    assert kind == "image/png" and struct.unpack(">II", data[16:24]) == (60, 100)


def test_a_reminder_that_nobody_waits_for_any_more_ends(loader):
    with pytest.raises(CallTimeout):
        loader.call("notes.remind", {"text": "tea", "seconds": 3600}, timeout=0.2)
    assert loader.call("notes.remind", {"text": "tea", "seconds": 0}).text == "tea"


def test_the_person_and_the_model_are_asked(loader):
    assert loader.call("notes.summarize", check=True).text == "of 1"
    assert [loader.call("notes.clear", check=True).text for _ in range(2)] == ["nothing was removed"] * 2
    assert len(texts(loader)) == 3


def test_a_client_that_cannot_be_asked_is_told_so():
    with notes() as loader:
        assert "takes no elicitation" in loader.call("notes.clear").text


def test_notes_in_a_file_outlive_a_crash(tmp_path):
    file = tmp_path / "notes.json"
    with notes(file) as loader:
        loader.call("notes.add", {"text": "Feed the cat"}, check=True)
        with pytest.raises(ServerLost):
            loader.call("notes.crash")
        assert texts(loader)[-1] == "Feed the cat"
    with notes(file) as loader:
        assert texts(loader)[-1] == "Feed the cat"


def test_notebooks_show_the_loader_its_results_and_tools(loader):
    assert "connected" in loader._repr_html_() and "notes 1.0" in loader._repr_html_()
    listed = loader.call("notes.list")._repr_html_()
    assert "Buy milk" in listed and ">notes__list<" in listed
    assert "read-only" in loader.tools["notes__read"]._repr_html_()
    with ToolsLoader({"wrong": {"command": 5}}) as broken:
        assert "not valid" in broken._repr_html_()
