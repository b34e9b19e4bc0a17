"""How Windows finds and starts the command of a server: ``npx`` is ``npx.cmd`` there, and a ``.cmd`` is run by a shell.

Contract
  * A command is looked for where its own process would look on POSIX: in the PATH that it gets, and, with a folder in its name, below
    its working directory. The current directory is no place to find a bare name in.
  * Each argument reaches a script as it stands, or the start is refused: no part of it is taken for a command, a variable or
    an option of the shell.

Pure, so that it can be tested everywhere; paths are those of Windows.
"""

from __future__ import annotations

import errno
import ntpath
import os
import re
from collections.abc import Callable, Mapping

_EXTENSIONS = ".COM;.EXE;.BAT;.CMD"
_PLAIN = re.compile(r"[\w:./\\+@-]+\Z", re.ASCII)
# what the line of a script may not hold, quoted or not: the end of a line ends the command, and a NUL all of it
_IMPOSSIBLE = re.compile(r"[\r\n\0\x1a]")


def is_script(path: str) -> bool:
    """Does only the shell run it?"""
    return ntpath.splitext(path)[1].lower() in (".cmd", ".bat")


def find_program(
    command: str, env: Mapping[str, str], cwd: str | None, exists: Callable[[str], bool] = os.path.isfile
) -> str:
    """The file that a command means.

    :param env: what the process gets, names in capitals.
    :raises FileNotFoundError: there is none.
    """
    extensions = [one for one in env.get("PATHEXT", _EXTENSIONS).split(";") if one]
    known = ntpath.splitext(command)[1].upper() in map(str.upper, extensions)
    endings = ["", *extensions] if known else [*extensions, ""]
    if ntpath.dirname(command) or ntpath.splitdrive(command)[0]:
        folders = [cwd or os.getcwd()]
    else:
        folders = [one.strip('"') for one in env.get("PATH", "").split(";")]
    for folder in folders:
        for ending in endings if folder else ():
            path = ntpath.join(folder, command + ending)
            if exists(path):
                return path
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)


def shell_line(script: str, args: list[str]) -> str:
    """The line by which cmd.exe runs a script with these arguments.

    :raises ValueError: it cannot be told one of them.
    """
    for one in (script, *args):
        if _IMPOSSIBLE.search(one):
            raise ValueError(
                f"a {ntpath.splitext(script)[1]} file cannot be given an argument of several lines: {one!r}"
            )
    return " ".join([_quoted(script, always=True), *map(_quoted, args)])


def _quoted(text: str, always: bool = False) -> str:
    if not always and _PLAIN.match(text):
        return text
    # A quote is doubled, which leaves the shell's quoting as it was. The program that gets the argument from the script reads backslashes
    # before a quote as quoting it. %cd:~,% is a part of a variable that is there always, and empty: what is between % signs is no name then.
    text = re.sub(r'(\\*)"', r'\1\1""', text)
    text = re.sub(r"(\\+)\Z", r"\1\1", text)
    return '"' + text.replace("%", "%%cd:~,%") + '"'
