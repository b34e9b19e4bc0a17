"""Names for plain data as it comes off the wire.

Contract: types only. A value is an ``object`` until ``isinstance`` has told what it is: servers send anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonObject = dict[str, object]
RequestId = int | str  # of a JSON-RPC request
Json: TypeAlias = "str | int | float | bool | None | Mapping[str, Json] | Sequence[Json]"  # what is known to be some
