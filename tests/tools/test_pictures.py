"""The pictures of the documentation show what is: the figures those of README's table, the terminal what the commands print."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from html import unescape
from pathlib import Path

import forked
import pytest
import support

ROOT = Path(__file__).parent.parent.parent
IMAGES = ROOT / "docs" / "images"


def tool(name):
    specification = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_chart_is_that_of_the_table():
    """After new figures in README: make pictures."""
    assert tool("bar_charts").chart((ROOT / "README.md").read_text()) == (IMAGES / "figures.svg").read_text()


TABLE = """
| workload | reference | aionest, ratio | others, ratio | target | reached |
|---|---|---|---|---|---|
| one | stock 2.00 us | **0.50** | uvloop 3.00 | 0.60 | yes |
| import |  | 4.2 ms |  | 5 ms | yes |
"""


def test_a_bar_is_as_long_as_its_ratio():
    picture = tool("bar_charts").chart(TABLE)
    assert re.findall(r'class="(\w+)" x="132" y="\d+" width="([\d.]+)"', picture) == [
        ("other", "250.0"),
        ("other", "450.0"),  # cut, as its number says
        ("ours", "125.0"),
    ]
    assert "3.00" in picture and "1.00 (2.00 us)" in picture and "import" not in picture


def said(session):
    """All lines, without the times."""
    lines = []
    for command, screen, _ in session:
        lines += [f"$ {command}", *("".join(character for character, _ in line) for line in screen)]
    return [re.sub(r"\d+\.\d+ s", "# s", line) for line in lines]


@pytest.fixture(scope="session")
def forked_commands():
    with forked.COMMANDS.there():
        yield


def fork(command, *, env, **options):
    program, *arguments = shlex.split(command)
    assert program == "aionest"
    return forked.COMMANDS.popen([sys.executable, "-m", program, *arguments], env=forked.environment(env), **options)


@pytest.mark.skipif(sys.platform != "linux", reason="it needs a pseudo-terminal")
def test_the_terminal_says_what_the_commands_print(forked_commands):
    """After a change of what they print: make pictures."""
    support.needs("mcp", "typer", "rich")
    drawn = re.findall(r"<text [^>]*>(.*)</text>", (IMAGES / "terminal.svg").read_text())
    lines = [re.sub(r"\d+\.\d+ s", "# s", unescape(re.sub(r"<[^>]*>", "", line))) for line in drawn]
    assert said(tool("terminal_picture").recorded(fork)) == lines


def test_a_screen_is_what_a_terminal_shows():
    screen = tool("terminal_picture").screen

    def text(written):
        return ["".join(character for character, _ in line) for line in screen(written)]

    assert text("one\r\ntwo\r\n") == ["one", "two"]
    assert text("gone\r\x1b[2Knew\r\n") == ["new"]
    assert text("a\r\nb\r\n\x1b[1A\x1b[2Kc\r\n") == ["a", "c"]
    assert text("x" * 100) == ["x" * 92, "x" * 8]
    assert screen("\x1b[1;31mred\x1b[0m.")[0] == [*((c, ("bold", "red")) for c in "red"), (".", ())]
