"""OAuth for HTTP servers: the SDK's flows, tokens that outlive the process, and a listener for the browser's return.

Contract
  * Tokens, the client's registration and the authorization server's metadata are kept in a token store (``tokens``), so a
    login is needed once, and an expired token is renewed without a person.
  * A person is asked only through the ``authorize`` callback of the loader; without one the connection fails and says how to
    log in. The listener is bound to 127.0.0.1, lives for one login and takes one answer.
  * What is done around the SDK's flows is in ``flow``, what is kept of a server's tokens in ``storage``.

All of it runs on the portal's loop; the store's methods run in threads. A store that does not answer, such as a keyring that waits
to be unlocked, holds up nothing but its server's connection; what is to be kept is written to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import importlib
import inspect
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from .._json import JsonObject
from .._threads import in_thread
from ..config import FormatError, read_text
from ..errors import AuthError
from ..sdk import V2
from ..sdk.decoding import ENCODINGS, readable
from ..sdk.line import HTTP
from .flow import NO_SECRET, Followed, Identity, Public, on
from .storage import Storage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ..config import ServerConfig
    from .flow import Told
    from .redact import Secrets
    from .tokens import Store

LOGIN_TIMEOUT = 300.0  # seconds for a person
_PATH = "/callback"
_SIGNED = "private_key_jwt"


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
        return await _code(config, wanted, storage, authorize, on_failed, on_asking)

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


def _told(made: Told, config: ServerConfig, on_failed: Callable[[BaseException], None]) -> None:
    made.server, made.on_failed = config.name, on_failed


async def _signer(config: ServerConfig, wanted: Setting) -> Callable[[str], Awaitable[str]] | None:
    """What signs who one is, for an audience; None without a key, or where another way is wanted."""
    method = wanted.text("token_endpoint_auth_method")
    if not (wanted.text("private_key") or wanted.text("private_key_file")) or method not in (None, _SIGNED):
        return None
    client = wanted.text("client_id") or wanted.needed("client_metadata_url")
    signed = (
        importlib.import_module("mcp.client.auth.extensions.client_credentials")
        .SignedJWTParameters(
            issuer=client,
            subject=client,
            signing_key=wanted.text("private_key")
            or await _read(config, wanted.needed("private_key_file"), "the private key"),
            signing_algorithm=wanted.text("signing_algorithm") or "RS256",
        )
        .create_assertion_provider()
    )
    audience, issuer = wanted.text("audience"), wanted.text("issuer") or ""

    async def sign(issued: str) -> str:
        # 1.x may have added a slash to an issuer that has no path
        same = issued.rstrip("/") == issuer.rstrip("/")
        return str(await signed(audience or (issuer if same else issued)))

    return sign


async def _client_credentials(
    config: ServerConfig, wanted: Setting, storage: Storage, on_failed: Callable[[BaseException], None]
) -> Followed:
    extension = importlib.import_module("mcp.client.auth.extensions.client_credentials")
    options: JsonObject = {"client_id": wanted.needed("client_id")}
    method, sign = wanted.text("token_endpoint_auth_method"), await _signer(config, wanted)
    if sign is not None:
        base, method = extension.PrivateKeyJWTOAuthProvider, _SIGNED
        options["assertion_provider"] = sign
    else:
        base = extension.ClientCredentialsOAuthProvider
        options["client_secret"] = wanted.needed("client_secret")
    taken = inspect.signature(base.__init__).parameters
    if wanted.scope:
        options["scopes" if "scopes" in taken else "scope"] = wanted.scope
    if wanted.text("issuer") and "issuer" in taken:
        options["issuer"] = wanted.text("issuer")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Omitting `issuer`")  # it is the person's to give
        made = on(Followed, base)(server_url=config.url, storage=storage, **options)
    _told(made, config, on_failed)
    made.storage, made.renewing = storage, asyncio.Lock()
    made.method, made.registered = method, True
    return made


async def _read(config: ServerConfig, path: str, what: str) -> str:
    try:
        text, _ = await in_thread(read_text, Path(path).expanduser())
        return text
    except (OSError, ValueError, FormatError) as exc:
        why = getattr(exc, "strerror", None) or getattr(exc, "message", None) or type(exc).__name__
        said = f"server {config.name!r}: {what} in {path!r} cannot be read: {why}"
        raise AuthError(said, server=config.name) from None


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
    made = on(Identity if secret else Public, extension.IdentityAssertionOAuthProvider)(
        server_url=config.url,
        storage=storage,
        client_id=wanted.needed("client_id"),
        client_secret=secret or NO_SECRET,
        issuer=wanted.needed("issuer"),
        assertion_provider=assertion,
        scope=wanted.scope,
        token_endpoint_auth_method=(wanted.text("token_endpoint_auth_method") if secret else "client_secret_post")
        or "client_secret_basic",
    )
    _told(made, config, on_failed)
    made.storage = storage
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
            raise self._error(": timed out waiting for the login") from None
        finally:
            self._done()
        if "code" not in found:
            raise self._error(f": the login was refused ({found.get('error_description') or found['error']})")
        if V2:
            return importlib.import_module("mcp.shared.auth").AuthorizationCodeResult(
                code=found["code"], state=found.get("state"), iss=found.get("iss")
            )
        return found["code"], found.get("state")


async def _code(
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
    auth = on(Followed, OAuthClientProvider)(
        server_url=config.url,
        client_metadata=OAuthClientMetadata.model_validate(described),
        storage=storage,
        redirect_handler=login.redirect,
        callback_handler=login.callback,
        **({"client_metadata_url": wanted.needed("client_metadata_url")} if wanted.text("client_metadata_url") else {}),
    )
    _told(auth, config, on_failed)
    auth.storage, auth.renewing, auth.attended = storage, asyncio.Lock(), authorize is not None
    auth.assertion = await _signer(config, wanted)
    auth.method = method or (_SIGNED if auth.assertion is not None else None)
    auth.registered = storage.given is not None
    return auth
