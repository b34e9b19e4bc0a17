"""ToolResult: what a call gave, as plain data with no trace of the SDK.

Contract: immutable.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import html

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import BaseModel
    from typing_extensions import Self


@dataclass(frozen=True)
class ToolResult:
    """What a call gave.

    ``content`` holds the protocol's blocks (text, image, audio, resource, resource_link) as dictionaries.
    """

    content: list[dict[str, Any]] = field(default_factory=list)
    structured: Any = None
    is_error: bool = False
    server: str = ""
    tool: str = ""
    duration: float = 0.0  # seconds
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_sdk(
        cls, result: BaseModel | dict[str, object], *, server: str = "", tool: str = "", duration: float = 0.0
    ) -> Self:
        """From the SDK's result, of either line, or from a dictionary with the protocol's names."""
        raw: dict[str, Any] = result if isinstance(result, dict) else result.model_dump(mode="json", by_alias=True)
        return cls(
            # fields that are not set say nothing; None within structured content may well
            content=[_set_only(block) for block in raw.get("content") or []],
            structured=raw.get("structuredContent"),
            is_error=bool(raw.get("isError")),
            server=server,
            tool=tool,
            duration=duration,
            meta=raw.get("_meta") or {},
        )

    @property
    def text(self) -> str:
        """All texts in it, joined by line ends."""
        return "\n".join(text for block in self.content if (text := text_of(block)) is not None)

    @property
    def images(self) -> list[tuple[str, bytes]]:
        """Images in it: (media type, data). One whose data is broken is left out."""
        return [image for block in self.content if (image := image_of(block)) is not None]

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "server": self.server,
            "tool": self.tool,
            "isError": self.is_error,
            "content": self.content,
            "structuredContent": self.structured,
            "seconds": round(self.duration, 6),
            **({"_meta": self.meta} if self.meta else {}),
        }

    def _repr_html_(self) -> str:
        return html.result(self)

    def __str__(self) -> str:
        """Its texts, or else the structured content; and what kinds of other things it has."""
        return self.shown()

    def shown(self, carried: Collection[str] = ()) -> str:
        """As text, but for images of these media types, which are handed over beside it."""
        found = [] if self.text or self.structured is None else [json_of(self.structured)]
        for block in self.content:
            text, image = text_of(block), image_of(block) if carried else None
            if text is not None:
                found += [text] if self.text else []
            elif image is None or image[0] not in carried:
                found.append(described(block))
        return "\n".join(found)


def text_of(block: dict[str, object]) -> str | None:
    """The text of a block that is one, or that has one embedded."""
    if block.get("type") == "text":
        return str(block.get("text", ""))
    resource = block.get("resource") if block.get("type") == "resource" else None
    return str(resource["text"]) if isinstance(resource, dict) and "text" in resource else None


def image_of(block: dict[str, object]) -> tuple[str, bytes] | None:
    """The image of a block that is one, or that has one embedded: (media type, data). None if its data is broken."""
    kind, data = block.get("mimeType") or "image/png", block.get("data")
    inner = block.get("resource")
    if block.get("type") == "resource" and isinstance(inner, dict):
        kind, data = inner.get("mimeType") or "", inner.get("blob")
    elif block.get("type") != "image":
        return None
    if not isinstance(data, str) or not str(kind).startswith("image/"):
        return None
    try:
        return str(kind), base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        return None


def json_of(value: object) -> str:
    """As JSON text, whatever it is."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _set_only(block: dict[str, object]) -> dict[str, object]:
    return {
        key: _set_only(value) if key in ("resource", "annotations") and isinstance(value, dict) else value
        for key, value in block.items()
        if value is not None
    }


def described(block: dict[str, object]) -> str:
    """What kind of thing a block is, in brackets."""
    inner = block.get("resource") if isinstance(block.get("resource"), dict) else block
    assert isinstance(inner, dict)
    said = [str(block.get("type", "?")), *(str(inner[key]) for key in ("uri", "mimeType") if inner.get(key))]
    return f"[{' '.join(said)}]"
