"""Lists of resources, templates and prompts in which something is wrong. The SDK refuses a whole list for one of its entries.

Contract: the SDK's own reading comes first; only where that refuses is the list read as it is. Then only what this package shows or
needs is taken over, and only where it is of the type that it should be. An entry that cannot be asked for is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from .convert import dump
from .line import types
from .surface import steps_aside

if TYPE_CHECKING:
    from .._json import JsonObject
    from .lenient import LenientSession

_TEXTS = ("name", "title", "description", "mimeType", "uri", "uriTemplate")


class Kind(NamedTuple):
    method: str
    field: str  # of the result
    key: str  # by which an entry is asked for


KINDS = {
    "resources": Kind("resources/list", "resources", "uri"),
    "resource_templates": Kind("resources/templates/list", "resourceTemplates", "uriTemplate"),
    "prompts": Kind("prompts/list", "prompts", "name"),
}


async def page(session: LenientSession, what: str, params: types.PaginatedRequestParams | None) -> JsonObject:
    """A page of a list: tools, or one of ``KINDS``. Raises what the SDK has raised if nothing of it can be read."""
    try:
        return dump(await getattr(session, f"list_{what}")(params=params))
    except ValidationError as exc:
        wrong = exc
    if what not in KINDS:
        raise wrong
    if steps_aside("lists", session):
        raise wrong
    kind = KINDS[what]
    raw = await session.ask(kind.method, {} if params is None else {"cursor": params.cursor})
    entries = raw.get(kind.field)
    if not isinstance(entries, list):
        raise wrong
    found = [_usable(one, kind.key) for one in entries]
    return {"nextCursor": raw.get("nextCursor"), kind.field: [one for one in found if one is not None]}


def _usable(entry: object, key: str) -> JsonObject | None:
    if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
        return None
    found: JsonObject = {name: entry[name] for name in _TEXTS if isinstance(entry.get(name), str)}
    found.setdefault("name", found[key])
    if isinstance(entry.get("size"), int):
        found["size"] = entry["size"]
    arguments = entry.get("arguments")
    if isinstance(arguments, list):
        found["arguments"] = [
            {
                "name": one["name"],
                "required": one.get("required") is True,
                **({"description": one["description"]} if isinstance(one.get("description"), str) else {}),
            }
            for one in arguments
            if isinstance(one, dict) and isinstance(one.get("name"), str)
        ]
    return found
