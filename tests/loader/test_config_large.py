"""Saving in large configurations: what a change costs does not grow with the other servers, and the text is the same as ever."""

from __future__ import annotations

import json
import random

import pytest

pytest.importorskip("mcp")

from aionest.mcp import ToolsConfig
from aionest.mcp.config import text as texts
from aionest.mcp.config.content import Content


def _json(number):
    return json.dumps({"mcpServers": {f"s{i}": fields(i) for i in range(number)}}, indent=2) + "\n"


def _compact(number):
    return json.dumps({"other": [1], "mcpServers": {f"s{i}": fields(i) for i in range(number)}, "z": {"a": "}"}})


def _commented(number):
    made = "".join(f"    // of {i}\n    s{i}: {json.dumps(fields(i))}, // {i}\n" for i in range(number))
    return "// all\n{\n  servers: {\n" + made.removesuffix(f", // {number - 1}\n") + "\n  },\n}\n"


def _yaml(number):
    return "# all\n" + "".join(
        f"s{i}: # of {i}\n  command: python\n  args: [-m, srv{i}]\n  env:\n    A: '{i}'\n    PORT: 0755\n# after {i}\n\n"
        for i in range(number)
    )


def _nested_yaml(number):
    return "x-other: 1\nmcp:\n    servers:\n" + "".join(
        f"        s{i}:\n            command: python\n            env: {{A: x}}\n            args:\n            - -m\n"
        for i in range(number)
    )


def _toml(number):
    return "title = 'x'\n\n" + "".join(
        f"# of {i}\n[mcpServers.s{i}]\ncommand = 'python' # c\nargs = ['-m', 's']\n\n[mcpServers.s{i}.env]\nA = '{i}'\n\n"
        for i in range(number)
    )


def fields(i):
    return {"command": "python", "args": ["-m", f"srv{i}"], "env": {"A": str(i)}}


KINDS = {
    "json": _json,
    "compact.json": _compact,
    "commented.jsonc": _commented,
    "yaml": _yaml,
    "nested.yaml": _nested_yaml,
    "toml": _toml,
}


def written(tmp_path, kind, number):
    file = tmp_path / f"mcp.{kind}" if "." not in kind else tmp_path / kind
    file.write_text(KINDS[kind](number), "utf-8")
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_one_change_reads_only_what_is_changed(tmp_path, monkeypatch, kind):
    config = ToolsConfig(written(tmp_path, kind, 60))
    assert config.errors == [] and config.warnings == []
    whole, seen = len(config.config_file.read_text("utf-8")), []
    parse = texts.parse
    monkeypatch.setattr(texts, "parse", lambda text, fmt: (seen.append(len(text)), parse(text, fmt))[1])
    assert config.set("s7", {"command": "python", "args": ["-m", "other"], "env": {"A": "2"}})
    assert config.save() and max(seen) < whole / 10
    seen.clear()
    # and again, from what is known now
    assert config.set("s8", {"url": "http://127.0.0.1/mcp"}) and config.save(force=True)
    assert config.set("s7", {"command": "other"}) and config.save(force=True)
    assert seen and max(seen) < whole / 10
    monkeypatch.undo()
    again = ToolsConfig(config.config_file)
    assert again.servers == config.servers and again.raw == config.raw and again.errors == []
    assert again.servers["s7"].command == "other" and again.servers["s8"].url


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_the_text_is_that_of_an_edit_of_the_whole(tmp_path, monkeypatch, kind, seed):
    chance = random.Random(f"{kind} {seed}")
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    quick, whole = (ToolsConfig(written(tmp_path / name, kind, 5)) for name in "ab")
    taken = 0
    for step in range(8):
        name = f"s{chance.randrange(7)}"
        what = chance.choice(["set", "change", "remove"])
        value = dict(fields(chance.randrange(9)), **({"timeout": 5} if chance.random() < 0.5 else {}))
        for config in (quick, whole):
            if what == "remove":
                config.remove(name)
            else:
                assert config.set(name, value)
        with monkeypatch.context() as patch:
            patch.setattr(Content, "_by_sections", lambda *args: None)
            saved = whole.save(force=True)
        before = quick._content
        assert quick.save(force=True) == saved
        taken += quick._content is before
        assert quick.config_file.read_text("utf-8") == whole.config_file.read_text("utf-8"), (step, what, name)
        assert quick.raw == whole.raw and quick.list() == whole.list()
        for one, other in zip(quick.servers.values(), whole.servers.values()):
            assert one.model_dump() == other.model_dump()
    assert taken


def test_errors_have_the_lines_of_the_text_as_it_is_now(tmp_path, monkeypatch):
    monkeypatch.delenv("NOPE", raising=False)
    file = tmp_path / "mcp.yaml"
    file.write_text("a:\n  command: x\nb:\n  command: x\n  env:\n    A: ${NOPE}\n")
    config = ToolsConfig(file)
    assert config.set("a", {"command": "x", "env": {"B": "1"}}) and config.save()
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if "NOPE" in text)
    with pytest.raises(ValueError) as found:
        config.servers["b"].resolved()
    assert found.value.line == line and line > 6


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mcp.yaml", "a: &one\n  command: x\nb: *one\n"),
        ("mcp.yaml", "a:\n  command: x\n  env: &e {A: '1'}\nb:\n  command: x\n  env: *e\n"),
        ("mcp.toml", "[mcpServers.a]\ncommand = 'x'\n[mcpServers.b]\ncommand = 'y'\n[mcpServers.a.env]\nA = '1'\n"),
        ("mcp.toml", "mcpServers.a.command = 'x'\n[mcpServers.b]\ncommand = 'y'\n"),
    ],
)
def test_what_cannot_be_told_apart_is_edited_as_a_whole(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    config = ToolsConfig(file)
    assert config.errors == []
    other = config.raw["b"]
    assert config.set("a", {"command": "z", "env": {"A": "2"}})
    if config.save(force=True):
        again = ToolsConfig(file)
        assert again.errors == [] and again.servers["a"].command == "z" and again.raw["b"] == other
    else:
        assert file.read_text() == text


def _anchored(number):
    return "x-some: &some\n  timeout: 5\nx-env: &env {A: '1'}\nmcpServers:\n" + "".join(
        f"  s{i}:\n    command: python\n    args: [-m, srv{i}]\n"
        + ("    <<: *some\n    env: *env # of all\n" if i % 2 else "")
        for i in range(number)
    )


def test_a_change_among_anchors_reads_the_whole_once_and_that_of_others_not(tmp_path, monkeypatch):
    file = tmp_path / "mcp.yaml"
    file.write_text(_anchored(61))
    config = ToolsConfig(file)
    assert config.errors == [] and config.servers["s7"].timeout == 5
    whole, seen = len(file.read_text()), []
    parse = texts.parse
    monkeypatch.setattr(texts, "parse", lambda text, fmt: (seen.append(len(text)), parse(text, fmt))[1])
    # a server which shares nothing, and a new one
    assert config.set("s8", {"command": "python", "args": ["-m", "other"]}) and config.save()
    assert config.set("new", {"command": "python"}) and config.save()
    assert max(seen) < whole / 10
    # one that does: what is written is read, to see that it is right, and that is all
    seen.clear()
    assert config.set("s7", {**config.raw["s7"], "command": "other"}) and config.save()
    assert len([one for one in seen if one > whole / 10]) <= 2
    seen.clear()
    assert config.set("s9", {**config.raw["s9"], "command": "other"}) and config.save()
    assert len([one for one in seen if one > whole / 10]) == 1
    # without what is merged into it, it is written out
    seen.clear()
    assert config.set("s11", {"command": "python", "args": []}) and config.save(force=True)
    assert len([one for one in seen if one > whole / 10]) < 6
    monkeypatch.undo()
    again = ToolsConfig(file)
    assert again.raw == config.raw and again.errors == [] and again.list()[-1] == "new"
    assert again.servers["s9"].command == "other" and again.servers["s9"].env == {"A": "1"}
    assert file.read_text().count("*env # of all") == 29


def test_an_alias_is_removed_and_replaced_where_it_stands(tmp_path):
    file = tmp_path / "mcp.yaml"
    file.write_text(_anchored(4))
    config = ToolsConfig(file)
    assert config.set("s1", {"command": "python", "args": ["-m", "srv1"], "timeout": 5, "env": {"B": "2"}})
    without = {key: value for key, value in config.raw["s3"].items() if key != "env"}
    assert config.set("s3", without) and config.save(force=True)
    wanted = _anchored(4).replace("    env: *env # of all\n", "    env:\n      B: '2' # of all\n", 1)
    assert file.read_text() == wanted.replace("    env: *env # of all\n", "")
    assert ToolsConfig(file).raw == config.raw


@pytest.mark.parametrize(
    "text",
    [
        "mcpServers: &all\n  a:\n    command: x\n  b:\n    command: y\nother: *all\n",
        "x: &base\n  a:\n    command: x\nmcpServers:\n  <<: *base\n  a:\n    command: z\n  b:\n    command: y\n",
    ],
)
def test_servers_that_are_shared_as_a_whole_are_not_edited_by_themselves(tmp_path, text):
    file = tmp_path / "mcp.yaml"
    file.write_text(text)
    config = ToolsConfig(file)
    other = texts.parse(text, "yaml").data.get("other")
    assert config.remove("a") or config.set("b", {"command": "w"})
    if config.save(force=True):
        found = texts.parse(file.read_text(), "yaml").data
        assert found.get("other") == other and "a" not in found["mcpServers"]
    else:
        assert file.read_text() == text
