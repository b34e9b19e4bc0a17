"""ToolsRetriever: a registry of tools or bundles with ranked full-text search, and embeddings where a callable is given.

Contract: thread-safe; an entry is anything with ``name`` and ``description``. Ranking is BM25 over names and descriptions;
with embeddings the two orders are merged by reciprocal rank.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
K1, B, RANK = 1.5, 0.75, 60


def words(text: str) -> list[str]:
    """Words of a text in lower case; camelCase and snake_case are taken apart, a plural's s goes."""
    found = [word.lower() for word in _WORD.findall(text)]
    return [w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in found]


class ToolsRetriever:
    """A registry of tools.

    :param db: ignored; kept for callers that pass a database.
    :param embed: takes texts and gives a vector for each; makes the search one by meaning as well.
    """

    def __init__(
        self, db: Any = None, *, embed: Callable[[list[str]], Sequence[Sequence[float]]] | None = None, **_: Any
    ) -> None:
        self.retrieve_min_score = 0.0
        self.retrieve_max_num = 10
        self._embed = embed
        self._lock = threading.RLock()
        self._tools: dict[str, Any] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._vectors: dict[str, Sequence[float]] = {}

    def add(self, tool: Any, **_: Any) -> None:
        """Register a tool. :raises ValueError: its name is taken, or its description empty."""
        self.add_batch([tool])

    def add_batch(self, tools: Iterable[Any], **_: Any) -> None:
        """Register tools, all or none. :raises ValueError: a name is taken, or a description empty."""
        new = list(tools)
        with self._lock:
            names: set[str] = set()
            for tool in new:
                if tool.name in self._tools or tool.name in names:
                    raise ValueError(f"a tool {tool.name!r} is registered already: remove it first")
                if not (tool.description or "").strip():
                    raise ValueError(f"tool {tool.name!r} has no description, by which it could be found")
                names.add(tool.name)
            texts = [f"{tool.name} {tool.description}" for tool in new]
            vectors = list(self._embed(texts)) if self._embed is not None and texts else []
            for position, tool in enumerate(new):
                self._tools[tool.name] = tool
                # a word of the name counts for three
                self._counts[tool.name] = Counter(words(tool.name) * 3 + words(tool.description))
                if vectors:
                    self._vectors[tool.name] = vectors[position]

    def get(self, name: str) -> Any:
        """The tool of that name, or None."""
        return self._tools.get(name)

    def get_batch(self, names: Iterable[str]) -> list[Any]:
        """The tools of those names; None for those that are not there."""
        return [self.get(name) for name in names]

    def get_all(self) -> list[Any]:
        """All tools."""
        with self._lock:
            return list(self._tools.values())

    def list(self) -> Sequence[str]:
        """All names."""
        with self._lock:
            return [*self._tools]

    def remove(self, name: str) -> bool:
        """Take a tool out. False if it was not there."""
        with self._lock:
            self._counts.pop(name, None)
            self._vectors.pop(name, None)
            return self._tools.pop(name, None) is not None

    def cleanup(self) -> None:
        """Take all out."""
        with self._lock:
            self._tools.clear()
            self._counts.clear()
            self._vectors.clear()

    def search(self, query: str, limit: int | None = None) -> Sequence[tuple[float, Any]]:
        """The tools that fit best, with scores, the best first."""
        with self._lock:
            scores = self._full_text(query)
            if self._embed is not None and self._vectors:
                scores = self._merged(query, scores)
            ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
            found = [(score, self._tools[name]) for name, score in ranked if score > self.retrieve_min_score]
        return found[: self.retrieve_max_num if limit is None else limit]

    def _full_text(self, query: str) -> dict[str, float]:
        total = len(self._counts)
        if not total:
            return {}
        lengths = {name: sum(counts.values()) for name, counts in self._counts.items()}
        average = sum(lengths.values()) / total or 1.0
        scores: dict[str, float] = {}
        for word in dict.fromkeys(words(query)):
            hits: dict[str, float] = {}
            for name, counts in self._counts.items():
                count: float = counts.get(word, 0)
                if not count and len(word) >= 3:
                    count = 0.5 * sum(
                        n
                        for other, n in counts.items()
                        if other.startswith(word) or word.startswith(other) and len(other) > 3
                    )
                if count:
                    hits[name] = count
            idf = math.log(1 + (total - len(hits) + 0.5) / (len(hits) + 0.5))
            for name, count in hits.items():
                weight = count * (K1 + 1) / (count + K1 * (1 - B + B * lengths[name] / average))
                scores[name] = scores.get(name, 0.0) + idf * weight
        return scores

    def _merged(self, query: str, scores: dict[str, float]) -> dict[str, float]:
        assert self._embed is not None
        vector = list(self._embed([query]))[0]
        near = {name: _cosine(vector, other) for name, other in self._vectors.items()}
        merged: dict[str, float] = {}
        for order in (scores, near):
            for rank, name in enumerate(sorted(order, key=lambda n: -order[n])):
                merged[name] = merged.get(name, 0.0) + 1 / (RANK + rank)
        return merged

    def retrieve(self, query: str, expand: bool = False, **_: Any) -> Sequence[Any]:
        """The tools that fit best; with ``expand``, a bundle's tools instead of the bundle."""
        found: list[Any] = []
        for _score, tool in self.search(query):
            found += tool.get_all() if expand and hasattr(tool, "get_all") else [tool]
        return found

    def __call__(self, query: str, **_: Any) -> str:
        return "\n".join(f"{tool.name}: {tool.description}" for tool in self.retrieve(query))

    def to_tool(self) -> Callable[[str], str]:
        """A plain function that an agent can be given."""

        def tools_retriever(query: str) -> str:
            """Find tools that can help with a task, by a description of the task."""
            return self(query)

        return tools_retriever


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b)) / norm if norm else 0.0
