"""What of a configuration must not be shown, by names that look like those of secrets.

Contract: ``mask_url``, ``mask_args`` and ``mask_auth`` give text that may be logged. Nothing here keeps state; any thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

HIDDEN = "***"
_TOKEN_LIKE = re.compile(
    r"key|token|secret|passw|pwd|sig(nature)?$|auth|credential|bearer|jwt|session|cookie|private", re.IGNORECASE
)
# names of what is counted, though they look like those of secrets: MAX_TOKENS, session_timeout
_COUNTED = re.compile(r"max|min_|limit|size|count|length|timeout|ttl|budget|seconds|tokens$|retries", re.IGNORECASE)
_FEW_DIGITS = re.compile(r"\s*[+-]?[0-9]{1,6}\s*")
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY = re.compile(r"([?&;#])([^=&;#\s]+)=([^&;#\s]*)")
_FLAG = re.compile(r"(--?[A-Za-z0-9][\w.-]*|[A-Za-z_][\w.-]*)([=:])(.*)\Z", re.DOTALL)
_HEADER_FLAGS = ("-H", "--header", "--headers")
_LINE = {":": re.compile(r"[;|&<>`\n]|\$\("), "=": re.compile(r"[;|&<>`\s]|\$\(")}


def token_like(name: str) -> bool:
    """Whether a name looks like that of a secret."""
    return _TOKEN_LIKE.search(name) is not None


def is_number(name: str, value: str) -> bool:
    """Whether a value is a number that is no secret under that name: a port, a limit, the code of an error."""
    return _FEW_DIGITS.fullmatch(value) is not None and (
        not is_given(name.lstrip("-")) or _COUNTED.search(name) is not None
    )


def is_given(name: str) -> bool:
    """Whether a parameter of a URL, or an option, looks like a secret: there, a code is what a login returns."""
    return name.lower() == "code" or token_like(name)


def mask_url(url: str) -> str:
    """The URL without user info, and without the values of query parameters that look like secrets."""
    url = _USERINFO.sub(HIDDEN + "@", url)
    return _QUERY.sub(lambda m: f"{m[1]}{m[2]}={HIDDEN if is_given(m[2]) else m[3]}", url)


def mask_args(args: list[str]) -> list[str]:
    """The arguments, with the values of those that look like secrets hidden."""
    return _without_secrets(args, lambda _: HIDDEN)


def secret_args(args: list[str]) -> list[str]:
    """The values that ``mask_args`` hides, those in URLs apart."""
    found: list[str] = []

    def note(value: str) -> str:
        found.append(value)
        return HIDDEN

    _without_secrets(args, note)
    return found


def _without_secrets(args: list[str], hide: Callable[[str], str]) -> list[str]:
    shown: list[str] = []
    before = ""
    for arg in args:
        is_named = before.startswith("-") and "=" not in before and " " not in before and is_given(before.lstrip("-"))
        is_secret = is_named and not is_number(before, arg)
        shown.append(hide(arg) if is_secret else _without_secret(arg, hide, before in _HEADER_FLAGS))
        before = arg
    return shown


def _without_secret(arg: str, hide: Callable[[str], str], is_header: bool, is_part: bool = False) -> str:
    flag = _FLAG.match(arg)
    if flag is None or flag[3].startswith("//"):
        return _without_json_secrets(arg, hide) or mask_url(arg)
    name, mark, value = flag.groups()
    looks = is_given(name.lstrip("-")) if name.startswith("-") else token_like(name)
    if not looks or is_number(name, value):
        if is_part:
            return mask_url(arg)
        return f"{name}{mark}{_without_secret(value, hide, name in _HEADER_FLAGS, True)}"
    # a line for a shell or an interpreter may begin like an assignment: what else it does is to be seen
    line = None if is_header or name.startswith("--") else _LINE[mark].search(value)
    if line is None:
        return f"{name}{mark}{hide(value)}"
    word, rest = value[: line.start()], value[line.start() :]
    return f"{name}{mark}{hide(word) if word else ''}{mask_url(rest)}"


def _without_json_secrets(text: str, hide: Callable[[str], str]) -> str | None:
    """None if it is not JSON with secrets."""
    if not text.lstrip().startswith(("{", "[")):
        return None

    def replaced(value: object) -> object:
        if isinstance(value, dict):
            return {key: hidden(key, one) if token_like(key) else replaced(one) for key, one in value.items()}
        return [replaced(one) for one in value] if isinstance(value, list) else value

    def hidden(name: str, value: object) -> object:
        if isinstance(value, dict):
            return {key: hidden(name, one) for key, one in value.items()}
        if isinstance(value, list):
            return [hidden(name, one) for one in value]
        shown = value is None or isinstance(value, bool) or is_number(name, str(value))
        return value if shown else hide(str(value))

    try:
        given = json.loads(text)
        shown = replaced(given)
        return None if shown == given else mask_url(json.dumps(shown, ensure_ascii=False))
    except (ValueError, RecursionError):
        return None


def mask_auth(auth: str | dict[str, object] | None) -> str | dict[str, object] | None:
    """The auth setting with everything hidden but its type."""
    if isinstance(auth, dict):
        return {key: value if key == "type" else HIDDEN for key, value in auth.items()}
    return auth
