"""A session that reads lists of tools with mistakes in them. The SDK refuses a whole list for one tool.

Contract: the SDK's own reading comes first; only where that refuses is the list read as it is. Of each line: ``v1``, ``v2``.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from .failures import briefly
from .line import ClientSession, types
from .surface import steps_aside

_DECORATION = {"annotations", "execution", "icons", "title", "_meta"}  # a tool is called alike without it


class LenientSession(ClientSession):
    """Leaves out only the tools that are described wrongly, and what is wrong beside the point."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.left_out: list[str] = []  # what was wrong with them, since ``read_tools`` began

    async def list_as_it_is(self, params: types.PaginatedRequestParams | None) -> dict[str, object]:
        """A page of the list, not checked."""
        raise NotImplementedError

    async def ask(self, method: str, params: dict[str, object]) -> dict[str, object]:
        """What is answered to a request, not checked."""
        raise NotImplementedError

    def noted(
        self, result: types.ListToolsResult, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """The page, after the SDK has taken note of it as of one that it has read itself."""
        raise NotImplementedError

    async def list_tools(self, *args: Any, **keywords: Any) -> types.ListToolsResult:
        try:
            return await super().list_tools(*args, **keywords)
        except ValidationError as exc:
            wrong = exc
        if steps_aside("lists", self):
            raise wrong
        params = keywords.get("params")
        raw = await self.list_as_it_is(params)
        tools = raw.get("tools")
        if not isinstance(tools, list):
            raise wrong
        good = []
        for number, one in enumerate(tools):
            name = one.get("name") if isinstance(one, dict) else None
            what = f"tool {name!r}" if isinstance(name, str) else f"tool number {number + 1}"
            try:
                good.append(self.usable(one, what))
            except ValidationError as exc:
                self.left_out.append(f"{what} is described wrongly: {briefly(exc)}")
        result = types.ListToolsResult.model_validate({**raw, "tools": good})
        return self.noted(result, params)

    def usable(self, tool: object, what: str) -> object:
        """The tool, without what nobody needs to call it, where only that is wrong."""
        try:
            types.Tool.model_validate(tool)
        except ValidationError as exc:
            wrong = {str(one["loc"][0]) for one in exc.errors(include_url=False, include_input=False) if one["loc"]}
            if not isinstance(tool, dict) or not wrong or not wrong <= _DECORATION:
                raise
            self.left_out.append(f"{', '.join(sorted(wrong))} of {what}: {briefly(exc)}")
            kept = {key: value for key, value in tool.items() if key not in wrong}
            return {**kept, "icons": good} if (good := _good_icons(tool.get("icons"))) else kept
        return tool


def _good_icons(icons: object) -> list[object]:
    """Those that are described as they should be; sizes as a text, as they were once, are made what they are now."""
    good: list[object] = []
    for one in icons if isinstance(icons, list) else []:
        if isinstance(one, dict) and isinstance(one.get("sizes"), str):
            one = {**one, "sizes": one["sizes"].split()}
        try:
            types.Tool.model_validate({"name": "x", "inputSchema": {"type": "object"}, "icons": [one]})
        except ValidationError:
            continue
        good.append(one)
    return good
