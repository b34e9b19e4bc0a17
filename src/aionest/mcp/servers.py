"""What one can ask of servers beside calling their tools: the part of ``ToolsLoader`` that is about servers.

Contract: each method that waits has a form for synchronous code and one for coroutines of any loop, ``..._async``. Thread-safety:
every method, any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import Portal, portal
from . import html
from .auth import chosen
from .config import ServerConfig
from .errors import ToolsError, UsageError
from .session.calls import PROMPTS, RESOURCES, TEMPLATES, Blocks, Calls
from .session.fleet import Fleet
from .session.status import ServerStatus, State

if TYPE_CHECKING:
    from .config import ToolsConfig


class ServersMethods:
    """Resources, prompts, and the state of servers."""

    # what the loader has
    config: ToolsConfig
    _portal: Portal | None
    _fleet: Fleet
    _calls: Calls
    if TYPE_CHECKING:

        @property
        def errors(self) -> dict[str, str]: ...

    @property
    def portal(self) -> Portal:
        """Where the sessions live."""
        return self._portal if self._portal is not None else portal()

    @property
    def status(self) -> dict[str, ServerStatus]:
        """What is known of each server now."""
        return self._fleet.status()

    def _repr_html_(self) -> str:
        return html.servers(self.status.values(), self.errors)

    @property
    def failures(self) -> dict[str, ToolsError]:
        """The errors of servers that could not be opened, as ``load`` would raise them with ``strict``."""
        return self._fleet.failures()

    @property
    def instructions(self) -> dict[str, str]:
        """What connected servers say of how they are to be used, by server: for a model's prompt. It is the servers' text, not yours."""
        return {
            name: one.instructions
            for name, one in self.status.items()
            if one.instructions and one.state == State.CONNECTED
        }

    def resources(self, server: str | None = None) -> dict[str, Blocks]:
        """Resources of one or all servers, by server. Of all, those that are unavailable, do not answer, or have none are left out."""
        return self.portal.call(self._calls.listed, server, RESOURCES)

    async def resources_async(self, server: str | None = None) -> dict[str, Blocks]:
        """``resources()`` for coroutines of any loop."""
        return await self.portal.call_async(self._calls.listed, server, RESOURCES)

    def resource_templates(self, server: str | None = None) -> dict[str, Blocks]:
        """Resource templates of one or all servers, by server."""
        return self.portal.call(self._calls.listed, server, TEMPLATES)

    async def resource_templates_async(self, server: str | None = None) -> dict[str, Blocks]:
        """``resource_templates()`` for coroutines of any loop."""
        return await self.portal.call_async(self._calls.listed, server, TEMPLATES)

    def prompts(self, server: str | None = None) -> dict[str, Blocks]:
        """Prompts of one or all servers, by server."""
        return self.portal.call(self._calls.listed, server, PROMPTS)

    async def prompts_async(self, server: str | None = None) -> dict[str, Blocks]:
        """``prompts()`` for coroutines of any loop."""
        return await self.portal.call_async(self._calls.listed, server, PROMPTS)

    def read_resource(self, server: str, uri: str, *, timeout: float | None = None) -> Blocks:
        """The contents of a resource: blocks with ``text`` or ``blob`` (base64).

        :param timeout: seconds; ``None`` is the server's setting.
        :raises ToolsError: as ``call()``.
        """
        return self.portal.call(self._calls.read, server, uri, timeout)

    async def read_resource_async(self, server: str, uri: str, *, timeout: float | None = None) -> Blocks:
        """``read_resource()`` for coroutines of any loop."""
        return await self.portal.call_async(self._calls.read, server, uri, timeout)

    def get_prompt(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Blocks:
        """The messages of a prompt.

        :param timeout: seconds; ``None`` is the server's setting.
        :raises ToolsError: as ``call()``.
        """
        return self.portal.call(self._calls.prompt, server, name, arguments or {}, timeout)

    async def get_prompt_async(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Blocks:
        """``get_prompt()`` for coroutines of any loop."""
        return await self.portal.call_async(self._calls.prompt, server, name, arguments or {}, timeout)

    def ping(self, server: str, *, timeout: float | None = None) -> float:
        """Seconds that a server takes to answer.

        :raises ToolsError: it does not.
        """
        return self.portal.call(self._fleet.ping, server, timeout)

    async def ping_async(self, server: str, *, timeout: float | None = None) -> float:
        """``ping()`` for coroutines of any loop."""
        return await self.portal.call_async(self._fleet.ping, server, timeout)

    def health(self, *, timeout: float = 5.0) -> dict[str, ServerStatus]:
        """Ask all servers at once whether they answer, and give their status. Those that went away are opened again.

        :param timeout: seconds for each.
        """
        return self.portal.call(self._fleet.health, timeout)

    async def health_async(self, *, timeout: float = 5.0) -> dict[str, ServerStatus]:
        """``health()`` for coroutines of any loop."""
        return await self.portal.call_async(self._fleet.health, timeout)

    def restart(self, server: str) -> ServerStatus:
        """End a server's session and open a new one, with the same settings.

        :raises ToolsError: it does not come up again.
        """
        return self.portal.call(self._fleet.restart, server)

    async def restart_async(self, server: str) -> ServerStatus:
        """``restart()`` for coroutines of any loop."""
        return await self.portal.call_async(self._fleet.restart, server)

    def logout(self, server: str) -> bool:
        """Forget the OAuth tokens of a server. Were there any? Its session, if it is open, goes on.

        :raises UsageError: no such server, or it does not use OAuth.
        """
        from .auth.oauth import token_key

        one = self.config.servers.get(server)
        if one is None or not _logs_in(one):
            raise UsageError(f"no server {server!r} that logs in with OAuth is configured", server=server)
        return bool(chosen(self._fleet.callbacks.tokens).remove(token_key(one.resolved())))


def _logs_in(server: ServerConfig) -> bool:
    return server.auth == "oauth" or (isinstance(server.auth, dict) and server.auth["type"] != "bearer")


__all__ = ["ServersMethods"]
