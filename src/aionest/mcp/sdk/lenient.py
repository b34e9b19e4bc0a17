"""A session that reads lists of tools with mistakes in them. The SDK refuses a whole list for one tool.

Contract: the SDK's own reading comes first; only where that refuses is the list read as it is. Of each line: ``v1``, ``v2``.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from .failures import briefly
from .line import ClientSession, types
from .surface import absent, step_aside


class LenientSession(ClientSession):
    """Leaves out only the tools that are described wrongly."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.left_out: list[str] = []  # what was wrong with them, since ``read_tools`` began

    async def list_as_it_is(self, params: types.PaginatedRequestParams | None) -> dict[str, object]:
        """A page of the list, not checked."""
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
        lacking = absent("lists", self)
        if lacking:
            step_aside("lists", f"no {lacking[0].attribute}")
            raise wrong
        params = keywords.get("params")
        raw = await self.list_as_it_is(params)
        tools = raw.get("tools")
        if not isinstance(tools, list):
            raise wrong
        good = []
        for number, one in enumerate(tools):
            try:
                types.Tool.model_validate(one)
                good.append(one)
            except ValidationError as exc:
                name = one.get("name") if isinstance(one, dict) else None
                what = repr(name) if isinstance(name, str) else f"number {number + 1}"
                self.left_out.append(f"tool {what} is described wrongly: {briefly(exc)}")
        result = types.ListToolsResult.model_validate({**raw, "tools": good})
        return self.noted(result, params)
