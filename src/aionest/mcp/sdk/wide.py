"""UTF-16 and UTF-32 as UTF-8: some servers write it, where the protocol has UTF-8 only.

Contract: bytes that are neither come back as they are. What is no text becomes U+FFFD. A line that was cut at its newline's byte has
bytes of that newline before or after it; they are left out.
"""

from __future__ import annotations

_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_WIDTH = {"16": 2, "32": 4}
_NUL = b"\0"


def _marked(data: bytes) -> tuple[bytes, str]:
    """What stands behind a byte order mark, and the encoding that this tells of."""
    for begin in range(4):  # bytes of a newline may stand before it
        if data[:begin].strip(_NUL):
            break
        for mark, name in _MARKS:
            if data.startswith(mark, begin):
                return data[begin + len(mark) :], name
    return data, ""


def _unmarked(data: bytes, order: str) -> tuple[bytes, str]:
    """The text's bytes, and the encoding that its first characters tell of, which are ASCII as in all JSON."""
    inner = data.lstrip(_NUL)
    before = len(data) - len(inner)
    after = len(inner[1:8]) - len(inner[1:8].lstrip(_NUL)) if inner else 0
    if after not in (1, 3) or len(inner) < 2 * after + 1 or before > after:
        return data, ""
    bits = "16" if after == 1 else "32"
    if before == 0:
        return data, f"utf-{bits}-le"
    # between a newline's bytes and the other order only what came before can tell
    return (inner, f"utf-{bits}-le") if order == "le" and len(data) % (after + 1) else (data, f"utf-{bits}-be")


def in_utf8(data: bytes, order: str = "") -> tuple[bytes, str]:
    """A line as UTF-8, and the order of the bytes that were seen ("le", "be" or what was given).

    :param order: of the line before.
    """
    if _NUL not in data[:16] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return data, order
    inner, name = _marked(data)
    if not name:
        inner, name = _unmarked(data, order)
    if not name:
        return (
            data.replace(_NUL, b"") if order else data
        ), order  # of those: what comes after a character with a newline's byte
    whole = len(inner) - len(inner) % _WIDTH[name[4:6]]
    return inner[:whole].decode(name, "replace").encode("utf-8", "replace"), name[-2:]


def narrow(data: bytes) -> bytes:
    """A whole body as UTF-8."""
    return in_utf8(data)[0]


__all__ = ["in_utf8", "narrow"]
