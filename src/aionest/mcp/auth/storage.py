"""The tokens of one server: what a token store keeps of them, for the SDK.

Contract
  * What cannot be stored is kept in memory, with one warning; it is newer than what is in the store, which is not read again then.
  * A token store may have ``turn(key)``, a context manager: who renews tokens holds it, so that of several processes one does.

On the portal's loop; the store's methods run in threads.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from .._json import JsonObject
from .._threads import in_own_thread, in_thread
from ..errors import AuthError
from ..sdk import dump

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
    from pydantic import BaseModel

    from .redact import Secrets
    from .tokens import Store

M = TypeVar("M", bound="BaseModel")
log = logging.getLogger("aionest.mcp")
LONGEST_TOKEN = 1 << 16  # characters; servers take headers of 8 to 64 KiB
_SENDABLE = re.compile(r"[!-~]+")


class Storage:
    """The SDK's token storage on a token store."""

    def __init__(self, store: Store, key: str, secrets: Secrets) -> None:
        self.store = store
        self.key = key
        self.secrets = secrets
        self.given: OAuthClientInformationFull | None = None  # a registration made beforehand
        self.kept: JsonObject = {}
        self.renewing: str | None = None  # what tokens are asked for with; it goes on where no other comes
        self._ahead = False  # of what is in the store
        self._told = False  # that nothing can be kept

    async def load(self) -> bool:
        """Read what is kept. Are the tokens others than before?"""
        if self._ahead:
            return False
        try:
            found = await in_own_thread(self.store.get, self.key)
        except Exception as exc:  # a keyring that stays locked
            self._warn("read", exc)
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("tokens"), dict):
            if not self.kept:
                self.kept = found if isinstance(found, dict) else {}
                self._learn()
            return False
        before, self.kept = self.kept.get("tokens"), found
        self._learn()
        return found["tokens"] != before

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """While nobody else renews the tokens, also no other process, as far as the store can see to that."""
        make = getattr(self.store, "turn", None)
        if make is None:
            yield
            return
        held, settled = make(self.key), threading.Lock()

        def take() -> None:
            held.__enter__()
            if not settled.acquire(blocking=False):
                held.__exit__(None, None, None)  # nobody waits any more

        try:
            await in_own_thread(take)
        except Exception as exc:  # nobody can write there, or somebody does not let go of it
            log.debug("tokens of %s are renewed without its lock: %s", self.store, type(exc).__name__)
            yield
            return
        except BaseException:
            if not settled.acquire(blocking=False):
                held.__exit__(None, None, None)
            raise
        try:
            yield
        finally:
            held.__exit__(None, None, None)

    async def save(self, **values: object) -> None:
        self.kept = {**self.kept, **values}
        self._learn()
        try:
            self.kept = await in_thread(self._store, values)
            self._ahead = False
        except Exception as exc:  # a full disk, a home that is read-only, a keyring that stays locked
            self._ahead = True
            self._warn("store", exc)
        self._learn()

    def _warn(self, what: str, exc: Exception) -> None:
        if not self._told:
            self._told = True
            said = "cannot %s tokens of %s, so the login ends with this process: %s"
            log.warning(said, what, self.store, self.secrets.hide(f"{type(exc).__name__}: {exc}"))

    def _store(self, values: Mapping[str, object]) -> JsonObject:
        """Put these into what is kept there now: another process may have renewed the tokens meanwhile."""
        there = self.store.get(self.key)
        kept = {**(there if isinstance(there, dict) and there else self.kept), **values}
        self.store.set(self.key, kept)
        return kept

    def _learn(self) -> None:
        for part in (self.kept.get("tokens"), self.kept.get("client")):
            for name in ("access_token", "refresh_token", "client_secret"):
                value = part.get(name) if isinstance(part, dict) else None
                if isinstance(value, str):
                    self.secrets.add(value)

    def model(self, cls: type[M], value: object) -> M | None:
        """What is kept as one of the SDK's models; None if it is none."""
        if not isinstance(value, dict):
            return None
        try:
            return cls.model_validate(value)
        except ValueError:  # of another release, or edited: as if it were not there
            return None

    async def get_tokens(self) -> OAuthToken | None:
        from mcp.shared.auth import OAuthToken

        return self.model(OAuthToken, self.kept.get("tokens"))

    async def set_tokens(self, tokens: OAuthToken) -> None:
        for name, token in (("a token", tokens.access_token), ("a refresh token", tokens.refresh_token)):
            if token is not None and len(token) > LONGEST_TOKEN:
                said = f"the authorization server gave {name} of more than {LONGEST_TOKEN >> 10} KiB"
                raise AuthError(f"{said}, which no server takes")
        if not _SENDABLE.fullmatch(tokens.access_token):
            raise AuthError("the authorization server gave a token that cannot be sent in a header")
        if tokens.refresh_token is None:
            tokens.refresh_token = self.renewing
        expires = time.time() + tokens.expires_in if tokens.expires_in and tokens.expires_in > 0 else None
        await self.save(tokens=dump(tokens), expires=expires)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        from mcp.shared.auth import OAuthClientInformationFull

        return self.given or self.model(OAuthClientInformationFull, self.kept.get("client"))

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        if self.given is None:
            await self.save(client=dump(client_info))


__all__ = ["Storage"]
