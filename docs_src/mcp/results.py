"""What a tool gives: text, structured content, images, links to resources, errors."""

import json
import mimetypes
import sys
import tempfile
from pathlib import Path

from aionest.mcp import ToolFailed, ToolsLoader

NOTES = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}


def save_images(result, folder):
    paths = []
    for number, (kind, data) in enumerate(result.images, 1):
        path = Path(folder, f"{result.tool}-{number}{mimetypes.guess_extension(kind) or '.bin'}")
        path.write_bytes(data)
        paths.append(path)
    return paths


with ToolsLoader({"notes": NOTES}) as loader, tempfile.TemporaryDirectory() as folder:
    found = loader.call("notes.list", {"tag": "work"})
    print(found.text)  # for people and models
    print(found.structured["notes"][0]["tags"])  # for programs: as the tool's output schema says

    chart = loader.call("notes.chart")
    print(chart, [(path.name, path.read_bytes()[1:4]) for path in save_images(chart, folder)])

    # all of it, in the protocol's words
    for block in loader.call("notes.search", {"words": "milk"}).content:
        if block["type"] == "resource_link":
            print(block["uri"], loader.read_resource("notes", block["uri"])[0]["text"])

    # a tool's error is a result, which a model can make sense of
    result = loader.call("notes.read", {"id": 9})
    print(result.is_error, result.text)
    try:  # ... or an exception, for a program that cannot go on
        loader.call("notes.read", {"id": 9}, check=True)
    except ToolFailed as exc:
        print(exc.server, exc.result.text)

    print(json.dumps(found.to_json())[:38])  # for a log, a queue, a file

# Output:
# 2: Call Ada about the engine
# ['work', 'phone']
# [image image/png] [('notes__chart-1.png', b'PNG')]
# note://1 Buy milk and bread
# True there is no note 9
# notes there is no note 9
# {"server": "notes", "tool": "notes__li
