"""Where OAuth tokens are kept between processes: TokenStore in a file, KeyringTokenStore with the system's secrets.

Contract: the file is of mode 0600 in the user's state folder, written as a whole; what cannot be read counts as empty.
Anything with the same three methods may take its place (a vault). Tokens are in no repr and no message.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..config import locked, read_object, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KeyringTokenStore", "Store", "TokenStore"]

VARIABLE = "AIONEST_TOKENS"  # keyring, or a file's path


class Store(Protocol):
    """What keeps tokens, under keys, as plain JSON data."""

    def get(self, key: str) -> dict[str, object] | None:
        """What is kept under a key, or None."""
        ...

    def set(self, key: str, value: dict[str, object]) -> object:
        """Keep it."""
        ...

    def remove(self, key: str) -> object:
        """Forget it. Was there anything?"""
        ...


class Keyring(Protocol):
    """What is relied on of a backend of the package ``keyring``."""

    def get_password(self, service: str, username: str, /) -> str | None: ...
    def set_password(self, service: str, username: str, password: str, /) -> object: ...
    def delete_password(self, service: str, username: str, /) -> object: ...


class TokenStore:
    """Tokens in a file.

    :param file: where; ``tokens.json`` in the user's state folder of aionest unless given.

    Thread-safety: any thread. Other processes' entries are kept when one is written.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        if file is None:
            import platformdirs

            file = platformdirs.user_state_path("aionest", appauthor=False) / "tokens.json"
        self.file = Path(file)
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, object] | None:
        """What is kept under a key, as plain JSON data, or None."""
        with self._lock:
            found = self._read().get(_mark(key))
        return found if isinstance(found, dict) else None

    def set(self, key: str, value: dict[str, object]) -> None:
        """Keep it.

        :raises OSError: it cannot be written, or another process does not let go of it.
        """
        with self._writing():
            self._write({**self._read(), _mark(key): value})

    def remove(self, key: str) -> bool:
        """Forget it. Was there anything?

        :raises OSError: this cannot be written.
        """
        if _mark(key) not in self._read():
            return False
        with self._writing():
            known = self._read()
            if known.pop(_mark(key), None) is None:
                return False
            self._write(known)
            return True

    @contextlib.contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Hold this while renewing what is kept under a key: a refresh token may be good for one time only.

        :raises OSError: the folder cannot be written to, or another process does not let go.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.file.with_name(f"{self.file.name}-{_mark(key)[:16]}")):
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Nobody else writes between reading and writing, also no other process."""
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock, locked(self.file):
            yield

    def _read(self) -> dict[str, object]:
        return read_object(self.file)

    def _write(self, known: dict[str, object]) -> None:
        write_atomic(self.file, json.dumps(known, indent=1, sort_keys=True) + "\n", mode=0o600)

    def __repr__(self) -> str:
        return f"TokenStore({str(self.file)!r})"


class KeyringTokenStore:
    """Tokens in the system's keyring: Keychain, Secret Service, Windows' credentials, by the package ``keyring``.

    :param service: the name that its entries have there.
    :param keyring: a backend of that package, instead of the one that it takes by itself.
    :raises ImportError: the package is not there: ``pip install aionest[keyring]``.
    :raises RuntimeError: it finds no keyring on this system.

    Thread-safety: any thread, if the backend's is.
    """

    def __init__(self, service: str = "aionest", keyring: Keyring | None = None) -> None:
        if keyring is None:
            try:
                from keyring import get_keyring
            except ImportError as exc:
                raise ImportError(
                    "KeyringTokenStore needs the package keyring: pip install 'aionest[keyring]'"
                ) from exc
            found = get_keyring()
            if found.priority <= 0:
                raise RuntimeError(
                    f"keyring has no backend that works on this system ({found.name}): install one, or use TokenStore()"
                )
            keyring = found
        self.service = service
        self._keyring: Keyring = keyring
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, object] | None:
        """What is kept under a key, as plain JSON data, or None. What is not JSON counts as nothing."""
        with self._lock:
            text = self._keyring.get_password(self.service, _mark(key))
        try:
            found = json.loads(text or "null")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def set(self, key: str, value: dict[str, object]) -> None:
        """Keep it.

        :raises keyring.errors.KeyringError: it cannot be written, or the keyring stays locked.
        """
        with self._lock:
            self._keyring.set_password(self.service, _mark(key), json.dumps(value, sort_keys=True))

    def remove(self, key: str) -> bool:
        """Forget it. Was there anything?

        :raises keyring.errors.KeyringError: this cannot be written.
        """
        with self._lock:
            if self._keyring.get_password(self.service, _mark(key)) is None:
                return False
            self._keyring.delete_password(self.service, _mark(key))
            return True

    def __repr__(self) -> str:
        return f"KeyringTokenStore({self.service!r})"


def chosen(given: Store | None = None) -> Store:
    """The store that was given, or else the one that the environment variable ``AIONEST_TOKENS`` names.

    :raises ImportError: it names the keyring, whose package is not there.
    :raises RuntimeError: there is no keyring.
    """
    if given is not None:
        return given
    where = os.environ.get(VARIABLE)
    return KeyringTokenStore() if where == "keyring" else TokenStore(where or None)


def _mark(key: str) -> str:
    """The key names a URL, which may hold secrets itself."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
