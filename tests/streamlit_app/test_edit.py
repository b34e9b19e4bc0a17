"""Changes of a configuration by forms, and what results are shown as: without a browser."""

from __future__ import annotations

import json

import pytest
import support

support.needs("streamlit", "mcp")

from aionest.app import edit
from aionest.app.edit import HTTP, SSE, Fields
from aionest.mcp import ToolResult, ToolsConfig


@pytest.fixture(scope="module")
def results():
    """It imports Streamlit: not in each process that collects the tests."""
    from aionest.app import results

    return results


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "npx", "args": ["-y", "a b", "$HOME"], "env": {"KEY": "a=b"}, "cwd": "x"},
        {"command": "run", "timeout": 5, "connectTimeout": 2.5, "allow": ["a*"], "deny": ["b"], "prefix": "p"},
        {"url": "https://host/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
        {"url": "https://host/sse"},
        {"type": "sse", "url": "https://host/x"},
        {"type": "http", "url": "https://host/sse"},
        {"type": "stdio", "command": "run", "disabled": True, "retry": "never", "x-mine": 1},
    ],
)
def test_what_is_edited_and_not_changed_stays_as_it_was_written(tmp_path, entry):
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"a": entry}}))
    config = ToolsConfig(file)
    value, problems = edit.value_of(edit.fields_of(config, "a"), config.get("a"))
    assert (value, problems) == (entry, [])


def test_fields_become_an_entry():
    fields = Fields(command="npx -y 'my server'", env="A=1\n\nB=x=y", timeout="5", include="a*\nb")
    assert edit.value_of(fields) == (
        {
            "command": "npx",
            "args": ["-y", "my server"],
            "env": {"A": "1", "B": "x=y"},
            "timeout": 5,
            "include": ["a*", "b"],
        },
        [],
    )
    assert edit.value_of(Fields(HTTP, url="https://h/sse"))[0] == {"url": "https://h/sse", "transport": "http"}
    assert edit.value_of(Fields(SSE, url="https://h/x"))[0] == {"url": "https://h/x", "transport": "sse"}
    # from a program to an address: what belongs to the program goes
    value, _ = edit.value_of(Fields(HTTP, url="https://h"), {"command": "a", "args": ["b"], "env": {"A": "1"}})
    assert value == {"url": "https://h"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (Fields(command=""), "Command: required"),
        (Fields(command="a 'b"), "Command: No closing quotation"),
        (Fields(command="a", env="no sign"), "Environment, line 1"),
        (Fields(command="a", timeout="soon"), "Seconds for an answer: 'soon' is not a number"),
        (Fields(HTTP), "Address: required"),
        (Fields(HTTP, url="https://h", headers="x"), "Headers, line 1"),
    ],
)
def test_wrong_fields_are_told(fields, problem):
    assert any(problem in one for one in edit.value_of(fields)[1])


def test_changes_leave_comments_and_the_other_servers(tmp_path):
    file = tmp_path / "mcp.yaml"
    file.write_text("# mine\nmcpServers:\n  a:  # first\n    command: run\n  b: {command: walk}\n")
    assert edit.put_server(file, "c", {"command": "fly"}) == []
    assert edit.switch(file, "b", False) == []
    assert "# mine" in file.read_text() and "# first" in file.read_text()
    assert ToolsConfig(file).list() == ["a", "b", "c"] and ToolsConfig(file).servers["b"].disabled
    assert edit.switch(file, "b", True) == [] and not ToolsConfig(file).servers["b"].disabled
    assert edit.put_server(file, "d", {"command": "swim"}, "c") == []
    assert edit.remove_server(file, "a") == []
    assert sorted(ToolsConfig(file).list()) == ["b", "d"]
    before = file.read_text()
    assert "already" in edit.put_server(file, "b", {"command": "x"}, "d")[0]
    assert edit.put_server(file, "", {"command": "x"}) and edit.put_server(file, "e", {"command": 5})
    assert edit.remove_server(file, "nobody") and edit.switch(file, "nobody", True)
    assert file.read_text() == before


def test_a_new_file_and_an_import(tmp_path):
    file, other = tmp_path / "new" / "mcp.json", tmp_path / "other.json"
    file.parent.mkdir()
    other.write_text(json.dumps({"mcpServers": {"a": {"command": "run"}, "b": {"command": "walk"}}}))
    assert edit.import_servers(file, other, ["b"]) == []
    assert ToolsConfig(file).list() == ["b"]
    assert edit.put_server(file, "c", {"url": "https://h"}) == []
    assert ToolsConfig(file).list() == ["b", "c"]


def test_a_text_is_written_only_if_it_is_valid(tmp_path):
    file = tmp_path / "mcp.json"
    file.write_text(edit.read(file))
    file.chmod(0o640)
    before = file.read_text()
    assert edit.write(file, "{") and edit.write(file, '{"mcpServers": {"a": {"comand": "x"}}}')
    assert file.read_text() == before and edit.check(file, before) == []
    assert edit.write(file, '{"mcpServers": {"a": {"command": "x"}}}') == []
    assert file.stat().st_mode & 0o777 == 0o640 and ToolsConfig(file).list() == ["a"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mcp.json"]


def text(value, **more):
    return ToolResult([{"type": "text", "text": value}], **more)


@pytest.mark.parametrize(
    ("result", "best"),
    [
        (text("plain"), "Text"),
        (text("# Title\n\n- a\n- b"), "Text"),
        (text('{"a": {"b": 1}}'), "JSON"),
        (text('[{"a": 1}, {"a": 2}]'), "Table"),
        (text('{"rows": [{"a": 1}]}'), "Table"),
        (text("5", structured={"result": 5}), "Text"),
        (text("3", structured={"sum": 3}), "JSON"),
        (ToolResult([{"type": "image", "mimeType": "image/png", "data": "aGk="}]), "Images"),
        (ToolResult([]), "Raw"),
    ],
)
def test_the_best_view_of_a_result(results, result, best):
    found = results.views(result)
    assert found[0] == best and found[-1] == "Raw" and len(set(found)) == len(found)


def test_rows_of_a_table_have_plain_cells(results):
    assert results.rows([{"a": [1], "b": None, "c": "x"}]) == [{"a": "[ 1 ]", "b": None, "c": "x"}]
    assert results.rows([1, {"a": 1}]) is None and results.rows([]) is None and results.rows("x") is None


def test_markdown_is_a_view_where_there_is_some(results):
    assert "Markdown" in results.views(text("# Title\n\n- a\n- b")) and "Markdown" not in results.views(text("plain"))


def test_a_tables_file_has_no_formulas(results):
    found = results.rows([{"=a": '=HYPERLINK("http://evil")', "n": -5}, {"n": "@x", "more": 'a "quoted", one'}])
    assert results.as_csv(found).splitlines() == [
        "'=a,n,more",
        '"\'=HYPERLINK(""http://evil"")",-5,',
        ',\'@x,"a ""quoted"", one"',
    ]
