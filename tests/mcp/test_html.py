"""What notebooks show: all there is, and nothing of it as markup."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import pytest

pytest.importorskip("mcp")

from aionest._untrusted import NOTEBOOK as LONGEST
from aionest.mcp import ServerStatus, Tool, ToolResult, UsageError

EVIL = "<script>x()</script><img src=http://evil onerror=x()>\x1b[2K\u202e&amp;\"'"
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


class Reader(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.said, self.open = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said += data


def read(page):
    reader = Reader(page)
    assert not reader.open, "what is opened is closed"
    names = {tag for tag, _ in reader.tags}
    assert names <= {"div", "pre", "span", "b", "code", "table", "thead", "tbody", "tr", "th", "td", "img", "audio"}
    for _, attributes in reader.tags:
        assert attributes.keys() <= {"style", "src", "alt", "controls"}
        assert attributes.get("src", "data:").startswith("data:")
    return reader


def evil_everywhere():
    blocks = [
        {"type": "text", "text": EVIL},
        {"type": "image", "mimeType": f'image/png" onerror="{EVIL}', "data": PICTURE},
        {"type": "image", "mimeType": "text/html", "data": PICTURE},
        {"type": "audio", "mimeType": "audio/wav", "data": f'"{EVIL}'},
        {"type": "resource", "resource": {"uri": EVIL, "text": EVIL}},
        {"type": "resource", "resource": {"uri": EVIL, "blob": "AA==", "mimeType": EVIL}},
        {"type": "resource_link", "uri": EVIL, "name": EVIL},
        {"type": EVIL},
    ]
    schema = {"type": "object", "properties": {EVIL: {"type": EVIL, "description": EVIL}, "b": {"enum": [EVIL]}}}
    yield ToolResult(blocks, server=EVIL, tool=EVIL, duration=0.1)
    yield ToolResult([], structured={EVIL: [EVIL]})
    yield Tool(EVIL, EVIL, schema)
    yield ServerStatus(EVIL, "stdio", "failed", EVIL)
    yield ServerStatus(EVIL, "stdio", "connected", server=EVIL, version=EVIL)
    yield UsageError(EVIL, server=EVIL)


@pytest.mark.parametrize("one", [*evil_everywhere()], ids=lambda one: type(one).__name__)
def test_what_a_server_says_is_text(one):
    reader = read(one._repr_html_())
    assert "<script>" in reader.said and "\x1b" not in reader.said and "\u202e" not in reader.said


def test_a_picture_a_sound_and_a_text_are_shown():
    blocks = [
        {"type": "text", "text": "two\nlines"},
        {"type": "image", "mimeType": "image/png", "data": PICTURE},
        {"type": "audio", "mimeType": "audio/wav", "data": PICTURE},
    ]
    reader = read(ToolResult(blocks, server="s", tool="s__t", duration=0.5)._repr_html_())
    assert [tag for tag, attributes in reader.tags if "src" in attributes] == ["img", "audio"]
    assert "two\nlines" in reader.said and "done in 500 ms s__t" in reader.said
    assert "failed" in read(ToolResult(blocks, is_error=True)._repr_html_()).said


def test_a_long_text_is_shortened():
    page = ToolResult([{"type": "text", "text": "x" * (LONGEST + 5)}])._repr_html_()
    assert "(5 more characters)" in page and len(page) < LONGEST + 1000
