"""How a request gets its token: the SDK's flows for getting one, and what is done around them.

Contract
  * A request that has a good token is sent with it, whatever others wait for: the SDK sends one request at a time, to the headers
    of its answer.
  * Where there is none, or the server refuses it, the token is renewed, if it can be; a login, which is the SDK's own flow, comes
    after that. Each is tried once for a request. Of several tasks and processes one renews, and the others take what it got.
  * What the authorization server puts off (``sdk.deferred``) is sent again when it says; where it has failed, once more after
    ``AGAIN``. If it fails on, tokens that may be good yet are kept.
  * Whatever fails is told to ``on_failed`` at once, with the server's name: the SDK's transports log it and leave the request waiting.
"""

from __future__ import annotations

import asyncio
import time
import types
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from ..errors import AuthError, ServerUnavailable
from ..sdk import dump
from ..sdk.deferred import HAS_TIME, REPEATABLE, pause
from ..sdk.line import HTTP, OAuthFlowError
from .quiet import about_login, is_quoted
from .storage import Storage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthToken

    class _IdentityProvider(HTTP.Auth):
        """What is relied on of 2.x's ``IdentityAssertionOAuthProvider``."""

        _initialized: bool
        _tokens: OAuthToken | None
        _expiry: float | None

        def _build_token_request(self, *args: object, **keywords: object) -> HTTP.Request: ...

    class _ClientProvider(OAuthClientProvider):
        """Also of those for machines."""

        async def _exchange_token_authorization_code(self, *args: object, **keywords: object) -> HTTP.Request: ...
        async def _exchange_token_client_credentials(self, *args: object, **keywords: object) -> HTTP.Request: ...

    _Flow = HTTP.Auth
    Steps = AsyncGenerator[HTTP.Request, HTTP.Response]
else:
    _Flow = _IdentityProvider = _ClientProvider = object  # the SDK's are added when they are needed: ``on``

A = TypeVar("A", bound="HTTP.Auth")
AGAIN = 0.5  # seconds after which an authorization server that has failed is asked once more
TIMES = 3  # that one is waited for
UNTIMED = 30.0  # seconds that one may put off what is for no call
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def on(ours: type[A], base: type) -> Callable[..., A]:
    """Our class on top of one of the SDK's."""
    return types.new_class(ours.__name__, (ours, base))


def fields_of(request: HTTP.Request) -> dict[str, str]:
    """The form that a request for tokens carries; empty for any other."""
    if request.method != "POST" or "urlencoded" not in request.headers.get("content-type", ""):
        return {}
    return dict(parse_qsl(request.content.decode("utf-8", "replace"), keep_blank_values=True))


def _is_repeatable(request: HTTP.Request) -> bool:
    return request.method == "GET" or fields_of(request).get("grant_type", "authorization_code") != "authorization_code"


def _is_refusal(response: HTTP.Response) -> bool:
    """Does the server want another token?"""
    said = response.headers.get("www-authenticate", "")
    return response.status_code == 401 or (response.status_code == 403 and "insufficient_scope" in said)


class Told(_Flow):
    """What all the SDK's providers get."""

    server: str  # its name
    on_failed: Callable[[BaseException], None]
    attended: bool = False  # is there a person who could log in?

    # -- of the kinds

    async def _begin(self) -> None:
        """Read what is kept, unless it was."""
        raise NotImplementedError

    def _token(self, but: str | None = None) -> str | None:
        """One that is good as far as is known, and not the one that the server has refused."""
        raise NotImplementedError

    def _is_renewable(self) -> bool:
        return False

    async def _renewal(self, request: HTTP.Request, early: HTTP.Response | None, refused: str | None) -> Steps:
        return
        yield request

    async def _is_through(self) -> None: ...

    # -- of all

    async def async_auth_flow(self, request: HTTP.Request) -> Steps:
        steps = self._steps(request)
        try:
            outgoing = await steps.__anext__()
            while True:
                if outgoing is not request and _is_repeatable(outgoing):
                    outgoing.extensions[REPEATABLE] = True
                response = yield outgoing
                if outgoing is not request:
                    for number in range(TIMES):
                        seconds = self._put_off(request, outgoing, response, number)
                        if seconds is None:
                            break
                        await asyncio.sleep(seconds)
                        response = yield outgoing
                    self._check(outgoing, response)
                outgoing = await steps.asend(response)
        except StopAsyncIteration:
            pass
        except Exception as exc:
            told = about_login(exc, self.server)
            self.on_failed(told)
            raise told from (None if told is exc or is_quoted(exc) else exc)
        finally:
            await steps.aclose()

    def _put_off(
        self, request: HTTP.Request, outgoing: HTTP.Request, response: HTTP.Response, number: int
    ) -> float | None:
        """Seconds after which what the authorization server did not take is sent again; None if it is not."""
        seconds = pause(response)
        if seconds is None and number == 0 and _is_repeatable(outgoing) and "retry-after" not in response.headers:
            seconds = AGAIN if response.status_code == 429 or response.status_code >= 500 else None
        if seconds is None:
            return None
        has_time = request.extensions.get(HAS_TIME)
        return seconds if (has_time(seconds) if callable(has_time) else seconds <= UNTIMED) else None

    def _check(self, outgoing: HTTP.Request, response: HTTP.Response) -> None:
        """Raise if tokens cannot be had now, but may be later."""
        status, grant = response.status_code, fields_of(outgoing).get("grant_type")
        if grant is None or not (status == 429 or status >= 500):
            return
        if status not in (429, 503) and grant == "refresh_token" and self.attended:
            return  # some never say otherwise that a token is of no use: somebody may log in
        said = f"server {self.server!r}: its authorization server answered HTTP {status}: try again later"
        raise ServerUnavailable(said, server=self.server)

    async def _steps(self, request: HTTP.Request) -> Steps:
        own = request.headers.get("authorization")
        early: HTTP.Response | None = None
        refused: str | None = None
        await self._begin()
        for get in (self._renewal, self._login):
            token = self._token(refused)
            renewing = get == self._renewal and self._is_renewable()
            if token is not None or (early is None and not renewing):
                self._sign(request, token, own)
                early = yield request
                if not _is_refusal(early):
                    return
                refused = token or refused
            steps = get(request, early, refused)
            try:
                outgoing = await steps.__anext__()
                while True:
                    outgoing = await steps.asend((yield outgoing))
            except StopAsyncIteration:
                pass
            finally:
                await steps.aclose()
        token = self._token(refused)
        if token is not None:
            self._sign(request, token, own)
            yield request

    @staticmethod
    def _sign(request: HTTP.Request, token: str | None, own: str | None) -> None:
        said = f"Bearer {token}" if token is not None else own
        if said is None:
            request.headers.pop("authorization", None)
        else:
            request.headers["Authorization"] = said

    async def _login(self, request: HTTP.Request, early: HTTP.Response | None, refused: str | None) -> Steps:
        """The SDK's own flow, up to the token."""
        flow = super().async_auth_flow(request)
        try:
            outgoing = await flow.__anext__()
            while True:
                if outgoing is not request:
                    response = yield outgoing
                elif early is None or self._token(refused) is not None:
                    break  # it has got one, or another task has
                else:
                    response, early = early, None
                outgoing = await flow.asend(response)
        except StopAsyncIteration:
            pass
        finally:
            await flow.aclose()
        await self._is_through()


class Followed(Told, _ClientProvider):
    """The SDK's provider, with stored expiry and metadata, and a way to say who one is."""

    storage: Storage
    renewing: asyncio.Lock
    method: str | None = None  # that the configuration wants, for the token endpoint
    registered = False  # beforehand, so that the way is to be chosen
    assertion: Callable[[str], Awaitable[str]] | None = None  # signs who one is, for an audience

    async def _begin(self) -> None:
        if not self._initialized:
            await self._initialize()

    async def _initialize(self) -> None:
        from mcp.shared.auth import OAuthMetadata

        await super()._initialize()
        kept = self.storage.kept
        expires = kept.get("expires")
        self.context.token_expiry_time = expires if isinstance(expires, (int, float)) else None
        if self.context.oauth_metadata is None:
            self.context.oauth_metadata = self.storage.model(OAuthMetadata, kept.get("metadata"))

    def _token(self, but: str | None = None) -> str | None:
        tokens = self.context.current_tokens
        if tokens is None or tokens.access_token == but:
            return None
        # one that is given as expired already is meant to be used, by a server that has no such times
        good = self.context.is_token_valid() or (tokens.expires_in is not None and tokens.expires_in <= 0)
        return tokens.access_token if good else None

    def _is_renewable(self) -> bool:
        return self.context.can_refresh_token() or bool(self.storage.kept.get("tokens"))  # or by another process

    async def _renewal(self, request: HTTP.Request, early: HTTP.Response | None, refused: str | None) -> Steps:
        if early is not None and early.status_code != 401:
            return  # it is good, but not good for this
        async with self.renewing, self.storage.turn():
            await self._read_again()
            if self._token(refused) is not None or not self.context.can_refresh_token():
                return
            self.context.protocol_version = request.headers.get("mcp-protocol-version")
            try:
                asked = await self._refresh_token()
            except OAuthFlowError:  # not where it was given: it is to be found out anew
                return
            response = yield asked
            if await self._handle_refresh_response(response):
                await self._is_through()
            else:  # where there are no turns, another process may have been faster
                await self._read_again()

    async def _read_again(self) -> bool:
        """Take over what another process has got."""
        others = await self.storage.load()
        if others:
            await self._initialize()
        return others

    async def _exchange_token_authorization_code(self, *args: object, **keywords: object) -> HTTP.Request:
        self._choose_method()
        return await self._with_client(await super()._exchange_token_authorization_code(*args, **keywords), None)

    async def _exchange_token_client_credentials(self, *args: object, **keywords: object) -> HTTP.Request:
        self._choose_method()
        return await self._with_client(await super()._exchange_token_client_credentials(*args, **keywords), None)

    async def _refresh_token(self) -> HTTP.Request:
        self._choose_method()
        tokens = self.context.current_tokens
        return await self._with_client(await super()._refresh_token(), tokens.refresh_token if tokens else None)

    def _choose_method(self) -> None:
        """Say who one is as the configuration wants, else, where no registration says it, as the server takes it."""
        client = self.context.client_info
        if client is None:
            return
        method = self.method
        if method is None and (self.registered or client.token_endpoint_auth_method is None):
            supported = getattr(self.context.oauth_metadata, "token_endpoint_auth_methods_supported", None)
            ways = supported or ["client_secret_basic"]  # which counts where the server does not say
            order = ("client_secret_basic", "client_secret_post")
            method = next((one for one in order if one in ways), order[0]) if client.client_secret else "none"
        if method is not None and client.token_endpoint_auth_method != method:
            self.context.client_info = client.model_copy(update={"token_endpoint_auth_method": method})

    async def _with_client(self, request: HTTP.Request, renewing: str | None) -> HTTP.Request:
        """A request for tokens, with what says who asks.

        :param renewing: what it asks with.
        """
        self.storage.renewing = renewing
        client, fields = self.context.client_info, fields_of(request)
        if client is None or "authorization" in request.headers or "client_assertion" in fields:
            return request
        if client.client_id:
            fields.setdefault("client_id", client.client_id)
        if self.assertion is not None and client.token_endpoint_auth_method == "private_key_jwt":
            metadata = self.context.oauth_metadata
            if metadata is None:
                raise OAuthFlowError("a signed assertion needs an authorization server that publishes its issuer")
            fields["client_assertion_type"] = _ASSERTION
            fields["client_assertion"] = await self.assertion(str(metadata.issuer))
        return HTTP.Request("POST", request.url, data=fields)

    async def _is_through(self) -> None:
        metadata = self.context.oauth_metadata
        if metadata is not None and self.context.current_tokens is not None:
            found = dump(metadata)
            if found != self.storage.kept.get("metadata"):
                await self.storage.save(metadata=found)


class Identity(Told, _IdentityProvider):
    """The SDK's provider for an identity that another vouches for."""

    storage: Storage

    async def _begin(self) -> None:
        if not self._initialized:
            self._tokens = await self.storage.get_tokens()
            expires = self.storage.kept.get("expires")
            self._expiry = expires if isinstance(expires, (int, float)) else None
            self._initialized = True

    def _token(self, but: str | None = None) -> str | None:
        tokens, expiry = self._tokens, self._expiry
        if tokens is None or tokens.access_token == but or (expiry is not None and time.time() > expiry):
            return None
        return tokens.access_token


NO_SECRET = "none"  # the SDK wants one; it is taken out of the request


class Public(Identity):
    """For a client that has no secret, such as a workload whose platform vouches for it (RFC 7523)."""

    def _build_token_request(self, *args: object, **keywords: object) -> HTTP.Request:
        request = super()._build_token_request(*args, **keywords)
        fields = fields_of(request)
        if fields.pop("client_secret", None) != NO_SECRET:
            raise AuthError("this release of the MCP SDK cannot log in without a client_secret")
        return HTTP.Request("POST", request.url, data=fields)


__all__ = ["NO_SECRET", "Followed", "Identity", "Public", "Told", "on"]
