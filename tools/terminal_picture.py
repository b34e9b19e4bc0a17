"""A recording of the command line as a picture: the commands are run on a terminal, and what they print is drawn.

    python tools/terminal_picture.py docs/images/terminal.svg

An SVG that plays once, in the time that the commands took, and stands still for who wants no motion, or where nothing moves. Linux.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from html import escape
from itertools import groupby
from pathlib import Path

COLUMNS = 92
COMMANDS = (
    "aionest mcp config add notes -- python -m aionest.examples.notes",
    "aionest mcp tools remind words",
    "aionest mcp call notes.add text='Feed the cat' tags=home",
    "aionest mcp call notes.list tag=home",
    "aionest mcp call notes.raed id=3",
    "aionest mcp call notes.read id=3",
)
TYPING = 0.03  # seconds for a character
PAUSE = 0.7  # before the next command
LINE, CHARACTER, MARGIN = 19, 7.83, 16  # pixels, of a font of 13
CONTROL = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])|\x1b[=>]|\x1b\][^\x07]*\x07")
COLORS = {31: "red", 32: "green", 33: "yellow", 34: "blue", 35: "magenta", 36: "cyan", 91: "red", 92: "green"}
STYLE = """
    .card { fill: #16191d; stroke: #3d444d }
    text { font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #e6e8eb; white-space: pre }
    .bold { font-weight: 700 }
    .dim { fill: #a3abb5 }
    .prompt { fill: #7ee2a8 }
    .red { fill: #ff9a90 } .green { fill: #7ee2a8 } .yellow { fill: #f0c674 }
    .blue { fill: #8ab4ff } .magenta { fill: #e2a5f0 } .cyan { fill: #7fd7e8 }
    .step { animation: appear 0.01s backwards }
    @keyframes appear { from { opacity: 0 } }
    @media (prefers-reduced-motion: reduce) { .step { animation: none } }"""


def by_shell(command, **options):
    return subprocess.Popen(["sh", "-c", command], start_new_session=True, **options)


def on_terminal(command, folder, environment, start):
    """What the command writes to a terminal, and the seconds that it takes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    begin = time.monotonic()
    process = start(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # nobody has the terminal open any more
        pass
    os.close(ours)
    process.wait(60)
    return written.decode(), time.monotonic() - begin


def screen(written):
    """The lines that are left on the terminal, each a list of (character, classes)."""
    lines, row, column, look = [[]], 0, 0, []
    position = 0
    while position < len(written):
        control = CONTROL.match(written, position)
        if control is not None:
            position = control.end()
            numbers = [int(n) for n in re.findall(r"\d+", control[1] or "")]
            if control[2] == "m":
                look = looks(numbers, look)
            elif control[2] == "A":
                row = max(0, row - (numbers or [1])[0])
            elif control[2] == "K":
                lines[row] = [] if numbers == [2] else lines[row][:column]
            continue
        character = written[position]
        position += 1
        if character == "\r":
            column = 0
        elif character == "\n" or column == COLUMNS:
            column = 0 if column == COLUMNS else column
            position -= character != "\n"  # what did not fit comes on the next line
            row += 1
            if row == len(lines):
                lines.append([])
        elif character >= " ":
            lines[row] += [(" ", ())] * (column + 1 - len(lines[row]))
            lines[row][column] = (character, tuple(look))
            column += 1
    while lines and not lines[-1]:
        lines.pop()
    return lines


def looks(numbers, before):
    """The classes of what follows."""
    now = list(before)
    for number in numbers or [0]:
        if number == 0:
            now = []
        elif number in (1, 2):
            now.append({1: "bold", 2: "dim"}[number])
        elif number in COLORS:
            now = [one for one in now if one not in COLORS.values()] + [COLORS[number]]
    return now


def recorded(start=by_shell):
    """Each command with its lines and its time. start: what starts it, with the options of Popen."""
    with tempfile.TemporaryDirectory() as folder:
        bin_folder = Path(folder, "bin")
        bin_folder.mkdir()
        for name, command in (("aionest", "-m aionest"), ("python", "")):  # whatever the environment's own are called
            (bin_folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            (bin_folder / name).chmod(0o755)
        work = Path(folder, "work")
        work.mkdir()
        environment = {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "HOME": folder,
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }
        for command in COMMANDS:
            written, seconds = on_terminal(command, work, environment, start)
            yield command, screen(written), seconds


def picture(session):
    """The SVG."""
    parts, y, at = [], MARGIN + 12, 0.4

    def line(spans):
        nonlocal y
        parts.append(f'<text class="step" style="animation-delay: {at:.2f}s" x="{MARGIN}" y="{y}">{spans}</text>')
        y += LINE

    for command, lines, seconds in session:
        line(f'<tspan class="prompt">$ </tspan>{escape(command)}')
        at += TYPING * len(command) + seconds
        for one in lines:
            spans = ""
            for classes, characters in groupby(one, key=lambda cell: cell[1]):
                said = escape("".join(character for character, _ in characters))
                spans += f'<tspan class="{" ".join(classes)}">{said}</tspan>' if classes else said
            line(spans)
        y += 6
        at += PAUSE
    width, height = int(COLUMNS * CHARACTER) + 2 * MARGIN, y - 6
    body = "\n  ".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">
  <title id="title">A server is added, its tools are searched and called, and a misspelt name is put right</title>
  <style>{STYLE}
  </style>
  <rect class="card" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>
  {body}
</svg>
"""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(list(recorded())))
    print(sys.argv[1])
