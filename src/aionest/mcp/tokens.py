"""TokenStore: where OAuth tokens are kept between processes.

Contract: a file of mode 0600 in the user's state folder, written as a whole; what cannot be read counts as empty. Anything
with the same three methods may take its place (a keyring, a vault). Tokens are in no repr and no message.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from ._formats import write_atomic

__all__ = ["TokenStore"]


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

    def get(self, key: str) -> dict[str, Any] | None:
        """What is kept under a key, as plain JSON data, or None."""
        with self._lock:
            found = self._read().get(_mark(key))
        return found if isinstance(found, dict) else None

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep it.

        :raises OSError: it cannot be written.
        """
        with self._lock:
            self._write({**self._read(), _mark(key): value})

    def remove(self, key: str) -> bool:
        """Forget it. Was there anything?

        :raises OSError: this cannot be written.
        """
        with self._lock:
            known = self._read()
            if known.pop(_mark(key), None) is None:
                return False
            self._write(known)
            return True

    def _read(self) -> dict[str, Any]:
        try:
            data = json.loads(self.file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def _write(self, known: dict[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(self.file, json.dumps(known, indent=1, sort_keys=True) + "\n", mode=0o600)

    def __repr__(self) -> str:
        return f"TokenStore({str(self.file)!r})"


def _mark(key: str) -> str:
    """The key names a URL, which may hold secrets itself."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
