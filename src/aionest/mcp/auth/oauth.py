"""OAuth for HTTP servers: the SDK's flows, tokens that outlive the process, and a listener for the browser's return.

Contract
  * Tokens, the client's registration and the authorization server's metadata are kept in a token store (``tokens``), so a
    login is needed once, and an expired token is renewed without a person.
  * A person is asked only through the ``authorize`` callback of the loader; without one the connection fails and says how to
    log in. The listener is bound to 127.0.0.1, lives for one login and takes one answer.
  * Whatever fails in a flow is told to ``on_failed`` at once: the SDK's transports log it and leave the request waiting.

All of it runs on the portal's loop; the store's methods run in threads. A store that does not answer, such as a keyring that waits
to be unlocked, holds up nothing but its server's connection; what is to be kept is written to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import importlib
import inspect
import logging
import re
import time
import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, parse_qsl, urlsplit

from .._json import JsonObject
from .._threads import in_own_thread, in_thread
from ..config import FormatError, read_text
from ..errors import AuthError
from ..sdk import V2, dump
from ..sdk.decoding import ENCODINGS, readable
from ..sdk.line import HTTP
from .quiet import about_login, is_quoted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
    from pydantic import BaseModel

    from ..config import ServerConfig
    from .redact import Secrets
    from .tokens import Store

    class _IdentityProvider(HTTP.Auth):
        """What is relied on of 2.x's ``IdentityAssertionOAuthProvider``."""

        def _build_token_request(self, *args: object, **keywords: object) -> HTTP.Request: ...

    _Provider = OAuthClientProvider
else:
    _Provider = _IdentityProvider = object  # the SDK's are added when they are needed: ``_on``

A = TypeVar("A", bound="HTTP.Auth")
M = TypeVar("M", bound="BaseModel")
log = logging.getLogger("aionest.mcp")
LOGIN_TIMEOUT = 300.0  # seconds for a person
_PATH = "/callback"


_SENDABLE = re.compile(r"[!-~]+")


class Storage:
    """The SDK's token storage on a token store."""

    def __init__(self, store: Store, key: str, secrets: Secrets) -> None:
        self.store = store
        self.key = key
        self.secrets = secrets
        self.given: OAuthClientInformationFull | None = None  # a registration made beforehand
        self.kept: JsonObject = {}
        self._told = False  # that nothing can be kept

    async def load(self) -> None:
        """Read what is kept."""
        try:
            found = await in_own_thread(self.store.get, self.key)
        except Exception as exc:  # a keyring that stays locked
            self._warn("read", exc)
            found = None
        self.kept = found if isinstance(found, dict) else {}
        self._learn()

    async def _save(self, **values: object) -> None:
        self.kept = {**self.kept, **values}
        self._learn()
        try:
            self.kept = await in_thread(self._store, values)
        except Exception as exc:  # a full disk, a home that is read-only, a keyring that stays locked
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

    def _model(self, cls: type[M], value: object) -> M | None:
        if not isinstance(value, dict):
            return None
        try:
            return cls.model_validate(value)
        except ValueError:  # of another release, or edited: as if it were not there
            return None

    async def get_tokens(self) -> OAuthToken | None:
        from mcp.shared.auth import OAuthToken

        return self._model(OAuthToken, self.kept.get("tokens"))

    async def set_tokens(self, tokens: OAuthToken) -> None:
        if not _SENDABLE.fullmatch(tokens.access_token):
            raise AuthError("the authorization server gave a token that cannot be sent in a header")
        expires = time.time() + tokens.expires_in if tokens.expires_in else None
        await self._save(tokens=dump(tokens), expires=expires)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        from mcp.shared.auth import OAuthClientInformationFull

        return self.given or self._model(OAuthClientInformationFull, self.kept.get("client"))

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        if self.given is None:
            await self._save(client=dump(client_info))


class Listener:
    """Takes the browser's return from the authorization server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._server: asyncio.Server | None = None
        self._answer: asyncio.Future[dict[str, str]] | None = None

    async def open(self) -> None:
        """Listen. :raises OSError: the port is taken."""
        self._answer = asyncio.get_running_loop().create_future()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def wait(self, seconds: float) -> dict[str, str]:
        """The parameters that came back."""
        assert self._answer is not None
        return await asyncio.wait_for(asyncio.shield(self._answer), seconds)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._answer is not None:
            self._answer.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), 10)
            while (await asyncio.wait_for(reader.readline(), 10)).strip():
                pass
            parts = urlsplit((line.decode("latin-1").split(" ") + ["", ""])[1])
            found = {name: values[0] for name, values in parse_qs(parts.query).items()}
            good = parts.path == _PATH and ("code" in found or "error" in found)
            if good and self._answer is not None and not self._answer.done():
                self._answer.set_result(found)
            failed = found.get("error")
            said = (
                (
                    "The login failed: " + html.escape(failed)
                    if failed
                    else "You are logged in. This page may be closed."
                )
                if good
                else "There is nothing here."
            )
            body = f"<!doctype html><meta charset=utf-8><title>aionest</title><p>{said}".encode()
            head = f"HTTP/1.1 {'200 OK' if good else '404 Not Found'}\r\nContent-Type: text/html; charset=utf-8\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            await writer.drain()
        except (asyncio.TimeoutError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()


def provider(
    config: ServerConfig,
    store: Store,
    secrets: Secrets,
    authorize: Callable[[str], Awaitable[None]] | None,
    on_failed: Callable[[BaseException], None],
    on_asking: Callable[[bool], None],
) -> Callable[[], Awaitable[HTTP.Auth]]:
    """What makes the ``auth`` for the HTTP client of a server whose configuration wants OAuth.

    :param config: resolved.
    :param authorize: has a person open a URL; None where there is none.
    :param on_failed: told of what fails.
    :param on_asking: told when waiting for a person begins and ends.
    """
    wanted = _wanted(config)

    async def make() -> HTTP.Auth:
        try:
            return await chosen()
        except ValueError as exc:  # of the SDK, about an address
            raise AuthError(f"server {config.name!r}: {exc}", server=config.name) from exc

    async def chosen() -> HTTP.Auth:
        storage = Storage(store, token_key(config), secrets)
        await storage.load()
        if wanted.type == "client_credentials":
            return await _client_credentials(config, wanted, storage, on_failed)
        if wanted.type == "identity_assertion":
            return _identity_assertion(config, wanted, storage, on_failed)
        return _code(config, wanted, storage, authorize, on_failed, on_asking)

    return make


class Setting:
    """A server's auth setting, whose values were checked (``config.rules``)."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self.type = self.needed("type")

    def text(self, name: str) -> str | None:
        """One of its texts, or None where it has no such, or an empty one."""
        value = self._values.get(name)
        return value if isinstance(value, str) and value else None

    def needed(self, name: str) -> str:
        """One that is there."""
        return str(self._values[name])

    def number(self, name: str) -> float | None:
        """One of its numbers."""
        value = self._values.get(name)
        return float(value) if isinstance(value, (int, float, str)) and value else None

    @property
    def scope(self) -> str | None:
        """Its scopes, as the protocol has them."""
        scopes = self._values.get("scopes")
        return " ".join(map(str, scopes)) if isinstance(scopes, list) and scopes else None


def _wanted(config: ServerConfig) -> Setting:
    return Setting(config.auth if isinstance(config.auth, dict) else {"type": "oauth"})


def token_key(config: ServerConfig) -> str:
    """Under what a server's tokens are kept. The configuration must be resolved."""
    wanted = _wanted(config)
    return f"{wanted.type} {wanted.text('client_id') or ''} {config.url}"


class _Told(_Provider):
    """The SDK's provider, with failures told at once."""

    on_failed: Callable[[BaseException], None]

    async def _is_through(self) -> None: ...

    async def async_auth_flow(self, request: HTTP.Request) -> AsyncGenerator[HTTP.Request, HTTP.Response]:
        flow = super().async_auth_flow(request)
        try:
            outgoing = await flow.__anext__()
            while True:
                response = yield outgoing
                outgoing = await flow.asend(response)
        except StopAsyncIteration:
            await self._is_through()
        except Exception as exc:
            told = about_login(exc)
            self.on_failed(told)
            raise told from (None if told is exc or is_quoted(exc) else exc)
        finally:
            await flow.aclose()


class _Followed(_Told):
    """The SDK's provider, with stored expiry and metadata, a way to say who one is, and failures told at once."""

    storage: Storage
    method: str | None = None  # that the configuration wants, for the token endpoint

    async def _initialize(self) -> None:
        from mcp.shared.auth import OAuthMetadata

        await super()._initialize()
        kept = self.storage.kept
        expires = kept.get("expires")
        if isinstance(expires, (int, float)):
            self.context.token_expiry_time = expires
        if self.context.oauth_metadata is None:
            self.context.oauth_metadata = self.storage._model(OAuthMetadata, kept.get("metadata"))

    async def _exchange_token_authorization_code(self, *args: Any, **keywords: Any) -> HTTP.Request:
        self._choose_method()
        return await super()._exchange_token_authorization_code(*args, **keywords)

    async def _refresh_token(self) -> HTTP.Request:
        self._choose_method()
        return await super()._refresh_token()

    def _choose_method(self) -> None:
        """Say who one is as the configuration wants, else, for what was registered beforehand, as the server takes it."""
        client = self.context.client_info
        if client is None or (self.method is None and self.storage.given is None):
            return
        method = self.method
        if method is None:
            supported = getattr(self.context.oauth_metadata, "token_endpoint_auth_methods_supported", None)
            ways = supported or ["client_secret_basic"]  # which counts where the server does not say
            order = ("client_secret_basic", "client_secret_post")
            method = next((one for one in order if one in ways), order[0]) if client.client_secret else "none"
        if client.token_endpoint_auth_method != method:
            self.context.client_info = client.model_copy(update={"token_endpoint_auth_method": method})

    async def _is_through(self) -> None:
        metadata = self.context.oauth_metadata
        if metadata is not None and self.context.current_tokens is not None:
            found = dump(metadata)
            if found != self.storage.kept.get("metadata"):
                await self.storage._save(metadata=found)


def _on(ours: type[A], base: type) -> Callable[..., A]:
    """Our class on top of one of the SDK's."""
    return types.new_class(ours.__name__, (ours, base))


async def _client_credentials(
    config: ServerConfig, wanted: Setting, storage: Storage, on_failed: Callable[[BaseException], None]
) -> _Followed:
    extension = importlib.import_module("mcp.client.auth.extensions.client_credentials")
    client = wanted.needed("client_id")
    options: JsonObject = {"client_id": client}
    if wanted.text("private_key") or wanted.text("private_key_file"):
        base = extension.PrivateKeyJWTOAuthProvider
        signed = extension.SignedJWTParameters(
            issuer=client,
            subject=client,
            signing_key=wanted.text("private_key")
            or await _read(config, wanted.needed("private_key_file"), "the private key"),
            signing_algorithm=wanted.text("signing_algorithm") or "RS256",
        )
        options["assertion_provider"] = signed.create_assertion_provider()
    else:
        base = extension.ClientCredentialsOAuthProvider
        options["client_secret"] = wanted.needed("client_secret")
        method = wanted.text("token_endpoint_auth_method")
        if method:
            options["token_endpoint_auth_method"] = method
    taken = inspect.signature(base.__init__).parameters
    if wanted.scope:
        options["scopes" if "scopes" in taken else "scope"] = wanted.scope
    if wanted.text("issuer") and "issuer" in taken:
        options["issuer"] = wanted.text("issuer")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Omitting `issuer`")  # it is the person's to give
        made = _on(_Followed, base)(server_url=config.url, storage=storage, **options)
    made.storage, made.on_failed = storage, on_failed
    return made


async def _read(config: ServerConfig, path: str, what: str) -> str:
    try:
        text, _ = await in_thread(read_text, Path(path).expanduser())
        return text
    except (OSError, ValueError, FormatError) as exc:
        why = getattr(exc, "strerror", None) or getattr(exc, "message", None) or type(exc).__name__
        said = f"server {config.name!r}: {what} in {path!r} cannot be read: {why}"
        raise AuthError(said, server=config.name) from None


_NO_SECRET = "none"  # the SDK wants one; it is taken out of the request


class _Public(_IdentityProvider):
    """The SDK's provider for a client that has no secret, such as a workload whose platform vouches for it (RFC 7523)."""

    def _build_token_request(self, *args: object, **keywords: object) -> HTTP.Request:
        request = super()._build_token_request(*args, **keywords)
        fields = dict(parse_qsl(request.content.decode()))
        if fields.pop("client_secret", None) != _NO_SECRET:
            raise AuthError("this release of the MCP SDK cannot log in without a client_secret")
        return HTTP.Request("POST", request.url, data=fields)


def _identity_assertion(
    config: ServerConfig, wanted: Setting, storage: Storage, on_failed: Callable[[BaseException], None]
) -> HTTP.Auth:
    """An identity that one's own organisation vouches for, in place of a login (ID-JAG)."""
    try:
        extension = importlib.import_module("mcp.client.auth.extensions.identity_assertion")
    except ImportError:
        said = f'server {config.name!r}: auth type identity_assertion needs a newer MCP SDK (pip install "mcp>=2")'
        raise AuthError(said, server=config.name) from None

    async def assertion(audience: str, resource: str) -> str:
        said, file = wanted.text("assertion"), wanted.text("assertion_file")
        if said:
            return said
        if file:  # each time anew: platforms replace it
            found = (await _read(config, file, "the assertion")).strip()
            storage.secrets.add(found)
            return found
        found = await _exchanged(config, wanted, audience, resource)
        storage.secrets.add(found)
        return found

    secret = wanted.text("client_secret")
    base = extension.IdentityAssertionOAuthProvider
    if not secret:
        base = types.new_class(_Public.__name__, (_Public, base))
    made = _on(_Told, base)(
        server_url=config.url,
        storage=storage,
        client_id=wanted.needed("client_id"),
        client_secret=secret or _NO_SECRET,
        issuer=wanted.needed("issuer"),
        assertion_provider=assertion,
        scope=wanted.scope,
        token_endpoint_auth_method=(wanted.text("token_endpoint_auth_method") if secret else "client_secret_post")
        or "client_secret_basic",
    )
    made.on_failed = on_failed
    return made


async def _exchanged(config: ServerConfig, wanted: Setting, audience: str, resource: str) -> str:
    """What the organisation gives for its id token, for one server (RFC 8693)."""
    kind = "urn:ietf:params:oauth:token-type:"
    asked = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": f"{kind}id-jag",
        "subject_token": wanted.needed("id_token"),
        "subject_token_type": f"{kind}id_token",
        "audience": audience,
        "resource": resource,
        **({"client_id": wanted.needed("idp_client_id")} if wanted.text("idp_client_id") else {}),
        **({"scope": wanted.scope} if wanted.scope else {}),
    }
    try:
        hooks = {"response": [readable]}
        async with HTTP.AsyncClient(timeout=30.0, headers=ENCODINGS, event_hooks=hooks) as client:
            response = await client.post(wanted.needed("idp_token_endpoint"), data=asked)
    except (HTTP.HTTPError, HTTP.InvalidURL) as exc:
        said = f"server {config.name!r}: the identity provider cannot be reached (idp_token_endpoint): {exc}"
        raise AuthError(said, server=config.name) from exc
    try:
        given = response.json() if response.status_code == 200 else {}
        return str(given["access_token"])
    except (ValueError, KeyError, TypeError):
        said = f"server {config.name!r}: the identity provider returned no token for the id token (HTTP {response.status_code})"
        raise AuthError(said, server=config.name) from None


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Login:
    """A person's login in a browser.

    :param wanted: the server's auth setting.
    :param authorize: has a person open a URL; None where there is none.
    :param on_asking: told when waiting for a person begins and ends.
    """

    def __init__(
        self,
        config: ServerConfig,
        wanted: Setting,
        port: int,
        authorize: Callable[[str], Awaitable[None]] | None,
        on_asking: Callable[[bool], None],
    ) -> None:
        self._name = config.name
        self._port = port
        self._seconds = wanted.number("timeout") or LOGIN_TIMEOUT
        self._listener = Listener(port)
        self._authorize = authorize
        self._on_asking = on_asking

    def _error(self, message: str) -> AuthError:
        return AuthError(f"server {self._name!r}{message}", server=self._name)

    async def redirect(self, url: str) -> None:
        """Send the person there."""
        if self._authorize is None:
            raise self._error(
                f" needs a login: run `aionest mcp login {self._name}`, or give the loader authorize=webbrowser.open"
            )
        try:
            await self._listener.open()
        except OSError as exc:
            raise self._error(
                f": cannot listen for the login on port {self._port}: {exc.strerror}. Set another redirect_port"
            ) from None
        self._on_asking(True)
        try:
            await self._authorize(url)
        except BaseException:
            self._done()
            raise

    def _done(self) -> None:
        self._listener.close()
        self._on_asking(False)

    async def callback(self) -> object:
        """What the person comes back with, as the SDK wants it."""
        try:
            found = await self._listener.wait(self._seconds)
        except asyncio.TimeoutError:
            raise self._error(": nobody has logged in") from None
        finally:
            self._done()
        if "code" not in found:
            raise self._error(f": the login was refused ({found.get('error_description') or found['error']})")
        if V2:
            return importlib.import_module("mcp.shared.auth").AuthorizationCodeResult(
                code=found["code"], state=found.get("state"), iss=found.get("iss")
            )
        return found["code"], found.get("state")


def _code(
    config: ServerConfig,
    wanted: Setting,
    storage: Storage,
    authorize: Callable[[str], Awaitable[None]] | None,
    on_failed: Callable[[BaseException], None],
    on_asking: Callable[[bool], None],
) -> HTTP.Auth:
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

    # servers compare the whole URI with the one that was registered
    known = storage.kept.get("client")
    registered = ((known.get("redirect_uris") if isinstance(known, dict) else None) or [""])[0]
    port = int(wanted.number("redirect_port") or urlsplit(str(registered)).port or _free_port())
    described: JsonObject = {
        "client_name": wanted.text("client_name") or "aionest",
        "redirect_uris": [f"http://127.0.0.1:{port}{_PATH}"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": wanted.scope,
    }
    method = wanted.text("token_endpoint_auth_method")
    if method:
        described["token_endpoint_auth_method"] = method
    if wanted.text("client_id"):
        given = {name: wanted.text(name) for name in ("client_id", "client_secret")}
        if wanted.text("issuer"):
            given["issuer"] = wanted.text("issuer")
        storage.given = OAuthClientInformationFull.model_validate({**described, **given})
    login = _Login(config, wanted, port, authorize, on_asking)
    auth = _on(_Followed, OAuthClientProvider)(
        server_url=config.url,
        client_metadata=OAuthClientMetadata.model_validate(described),
        storage=storage,
        redirect_handler=login.redirect,
        callback_handler=login.callback,
        **({"client_metadata_url": wanted.needed("client_metadata_url")} if wanted.text("client_metadata_url") else {}),
    )
    auth.storage, auth.on_failed, auth.method = storage, on_failed, method
    return auth
