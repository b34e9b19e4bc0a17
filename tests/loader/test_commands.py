"""How Windows finds the program of a server, and what its shell is told about a script's arguments: logic that is the same everywhere."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("mcp")

from aionest.mcp.transport.commands import find_program, is_script, shell_line

ENV = {"PATH": r"C:\one;;C:\two", "PATHEXT": ".EXE;.CMD"}


def found(command, *files, env=ENV, cwd=None):
    there = {one.lower() for one in files}
    return find_program(command, env, cwd, lambda path: path.lower() in there)


def test_the_first_folder_wins_and_in_it_the_first_extension():
    both = (r"C:\two\npx.exe", r"C:\one\npx.cmd", r"C:\one\npx.exe")
    assert found("npx", *both) == r"C:\one\npx.EXE"
    assert found("npx", *both[:2]) == r"C:\one\npx.CMD"
    # npm puts a script for POSIX shells beside it
    assert found("npx", r"C:\one\npx", r"C:\one\npx.cmd") == r"C:\one\npx.CMD"
    assert found("npx.cmd", *both) == r"C:\one\npx.cmd"
    assert found("tool.py", r"C:\one\tool.py.exe", r"C:\two\tool.py") == r"C:\one\tool.py.EXE"


def test_without_its_variable_the_usual_extensions_count():
    assert found("npx", r"C:\one\npx.cmd", env={"PATH": r"C:\one"}) == r"C:\one\npx.CMD"


def test_a_bare_name_is_not_looked_for_in_the_working_directory():
    with pytest.raises(FileNotFoundError, match="npx"):
        found("npx", r"C:\here\npx.cmd", cwd=r"C:\here")


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (r".\serve", r"C:\here\.\serve.CMD"),
        ("bin/serve", r"C:\here\bin/serve.CMD"),
        (r"D:\else\serve", r"D:\else\serve.CMD"),
    ],
)
def test_a_path_is_one_below_the_working_directory(command, file):
    assert found(command, file, cwd=r"C:\here") == file


def test_scripts():
    assert is_script(r"C:\a\npx.CMD") and is_script("x.bat")
    assert not is_script(r"C:\a.cmd\npx.exe")


def read(line):
    """What cmd.exe hands on of a line, and how a C runtime takes that apart."""
    # a variable, of which a part is asked for that is empty
    line = line.replace("%cd:~,%", "")
    bare = "".join(part for i, part in enumerate(line.split('"')) if i % 2 == 0)
    assert not set("&|<>^%()") & set(bare), f"the shell would take a part of it for its own: {line}"
    args, current, quoted, i = [], None, False, 0
    while i < len(line):
        slashes = re.compile(r"\\*").match(line, i).end() - i
        i += slashes
        if i < len(line) and line[i] == '"':
            current = (current or "") + "\\" * (slashes // 2)
            if slashes % 2:
                current += '"'
            elif quoted and line[i + 1 : i + 2] == '"':
                current += '"'
                i += 1
            else:
                quoted = not quoted
            i += 1
        elif slashes:
            current = (current or "") + "\\" * slashes
        elif line[i] == " " and not quoted:
            args += [current] if current is not None else []
            current = None
            i += 1
        else:
            current = (current or "") + line[i]
            i += 1
    assert not quoted
    return args + ([current] if current is not None else [])


@pytest.mark.parametrize(
    "arg",
    ["plain", "", "two words", "a&calc", 'a"b', '"&calc&"', "%PATH%", "100%", "C:\\dir\\", "C:\\my dir\\", '\\"', '\\\\"&x', "a^b", "(x)", "@s/p@1", "-y", "a=b", "é"],
)  # fmt: skip
def test_an_argument_arrives_as_it_stands(arg):
    line = shell_line(r"C:\Program Files\nodejs\npx.cmd", [arg, "last"])
    assert read(line) == [r"C:\Program Files\nodejs\npx.cmd", arg, "last"]


@pytest.mark.parametrize("arg", ["a\nb", "a\r", "a\0b", "\x1a"])
def test_what_no_script_can_be_told_is_refused(arg):
    with pytest.raises(ValueError, match=r"\.cmd file cannot be given"):
        shell_line("npx.cmd", [arg])
