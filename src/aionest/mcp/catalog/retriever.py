"""ToolsRetriever: a registry of tools or bundles with ranked full-text search, and embeddings where a callable is given.

Contract: thread-safe; an entry is anything with ``name`` and ``description``. Ranking is BM25 over names and descriptions;
with embeddings the two orders are merged by reciprocal rank. ``embed`` is never called with a lock held.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from .._threads import in_own_thread
from ..tools import Tool, ToolResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# runs of CJK; then an acronym, a capitalised or lower-case word, digits, and words of scripts without case
_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_WIDE}]+|(?:(?![{_WIDE}])[^\W_])+")
_INNER = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
K1, B, RANK = 1.5, 0.75, 60
NAME_WEIGHT = 3  # a word of the name counts as often
PREFIX_WEIGHT = 0.5  # and one of which only the beginning is the same


def _stem(word: str) -> str:
    """Without a plural's ending."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def words(text: str) -> list[str]:
    """Words of a text, folded; camelCase and snake_case are taken apart, a plural's ending goes."""
    found: list[str] = []
    for run in _WORD.findall(text):
        if re.match(f"[{_WIDE}]", run):  # no spaces between words there: pairs of characters
            found += [run[i : i + 2] for i in range(len(run) - 1)] or [run]
        elif run.isascii():
            found += [_stem(word.lower()) for word in _INNER.findall(run)]
        else:
            found.append(_stem(run.casefold()))
    return found


class Entry(Protocol):
    """What may be registered."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...


# the class has a method of this name
_Names = list[str]
_Tools = list[Any]  # what was put in, whatever it is
_Dicts = list[dict[str, str]]
_Ranked = list[tuple[float, Any]]
_Entries = list[tuple[str, str, Entry]]


class ToolsRetriever:
    """A registry of tools that finds those which fit a task.

    :param db: ignored; kept for callers that pass a database.
    :param embed: takes texts and gives a vector for each; makes the search one by meaning as well.
    """

    def __init__(
        self, db: object = None, *, embed: Callable[[_Names], Sequence[Sequence[float]]] | None = None, **_: object
    ) -> None:
        self.retrieve_min_score = 0.0
        """Tools with a lower score are left out. Scores compare within a search; only 0 means the same in all."""
        self.retrieve_max_num = 10
        self._embed = embed
        self._lock = threading.RLock()
        self._tools: dict[str, Entry] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._vectors: dict[str, Sequence[float]] = {}

    # -- what is registered

    def add(self, tool: Entry, **_: object) -> None:
        """Register a tool. :raises ValueError: its name is taken, or its description empty."""
        self.add_batch([tool])

    def add_batch(self, tools: Iterable[Entry], **_: object) -> None:
        """Register tools, all or none. :raises ValueError: a name is taken, or a description empty."""
        new = [(tool.name, str(tool.description or ""), tool) for tool in tools]
        with self._lock:
            self._check(new)
        if not new:
            return
        vectors = self._embedded([f"{name} {description}" for name, description, _tool in new]) if self._embed else None
        counts = [Counter(words(name) * NAME_WEIGHT + words(description)) for name, description, _tool in new]
        with self._lock:
            self._check(new)  # another thread may have been faster
            for position, (name, _description, tool) in enumerate(new):
                self._tools[name] = tool
                self._counts[name] = counts[position]
                if vectors is not None:
                    self._vectors[name] = vectors[position]

    def _check(self, new: _Entries) -> None:
        seen: set[str] = set()
        for name, description, _tool in new:
            if name in self._tools or name in seen:
                raise ValueError(f"a tool {name!r} is already registered: remove it first")
            if not description.strip():
                raise ValueError(f"tool {name!r} has no description to search in")
            seen.add(name)

    def _embedded(self, texts: _Names) -> Sequence[Sequence[float]]:
        assert self._embed is not None
        vectors = list(self._embed(texts))
        if len(vectors) != len(texts):
            raise ValueError(f"embed returned {len(vectors)} vectors for {len(texts)} texts")
        return vectors

    def get(self, name: str) -> Any:
        """The tool of that name, or None."""
        return self._tools.get(name)

    def get_batch(self, names: Iterable[str]) -> _Tools:
        """The tools of those names; None for those that are not there."""
        return [self.get(name) for name in names]

    def get_all(self) -> _Tools:
        """All tools, in the order in which they were added."""
        with self._lock:
            return list(self._tools.values())

    def list(self) -> _Names:
        """The names of all tools, in the order in which they were added."""
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

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    # -- the search

    def search(self, query: str, limit: int | None = None) -> _Ranked:
        """The tools that fit best, with scores, the best first; ``limit`` of them (``retrieve_max_num``)."""
        with self._lock:
            tools, counts, vectors = dict(self._tools), dict(self._counts), dict(self._vectors)
        scores = _full_text(query, counts)
        if vectors and query.strip():
            scores = _merged(scores, self._embedded([query])[0], vectors)
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        found = [(score, tools[name]) for name, score in ranked if score >= self.retrieve_min_score]
        return found[: max(0, self.retrieve_max_num if limit is None else limit)]

    def retrieve(self, query: str, expand: bool = False, **_: object) -> _Tools:
        """The tools that fit best; with ``expand``, a bundle's tools instead of the bundle."""
        found: _Tools = []
        for _score, tool in self.search(query):
            found += tool.get_all() if expand and hasattr(tool, "get_all") else [tool]
        return found

    def __call__(self, query: str, expand: bool = False, **_: object) -> _Dicts:
        """Names and descriptions of the tools that fit best."""
        return [{"name": tool.name, "description": tool.description} for tool in self.retrieve(query, expand)]

    def to_tool(self) -> Tool:
        """The search as a tool itself, for an agent that has many: it can be adapted as any other."""
        return Tool(
            name="tools_retriever",
            title="Find tools",
            description="Use this tool to find the best tools for a given task",
            input_schema={
                "type": "object",
                "properties": {"query": {"type": "string", "description": "The task to find tools for"}},
                "required": ["query"],
            },
            annotations={"readOnlyHint": True, "openWorldHint": False},
            caller=_Search(self),
        )

    def __repr__(self) -> str:
        return f"<ToolsRetriever {len(self._tools)} tools>"


class _Search:
    """Carries out calls of the search as a tool."""

    def __init__(self, retriever: ToolsRetriever) -> None:
        self._retriever = retriever

    def call(self, tool: Tool, arguments: Mapping[str, object] | None = None, **_: object) -> ToolResult:
        given = dict(arguments or {})
        tool.validate(given)
        found = self._retriever(str(given["query"]))
        text = json.dumps(found, ensure_ascii=False)
        return ToolResult([{"type": "text", "text": text}], structured={"result": found}, tool=tool.name)

    async def call_async(self, tool: Tool, arguments: Mapping[str, object] | None = None, **_: object) -> ToolResult:
        return await in_own_thread(self.call, tool, arguments)  # embedding may take its time


def _full_text(query: str, counts: Mapping[str, Counter[str]]) -> dict[str, float]:
    """BM25 over those that have any of the words."""
    total = len(counts)
    lengths = {name: sum(each.values()) for name, each in counts.items()}
    average = sum(lengths.values()) / total if total else 1.0
    scores: dict[str, float] = {}
    for word in dict.fromkeys(words(query)):
        hits: dict[str, float] = {}
        for name, each in counts.items():
            count: float = each.get(word, 0)
            if not count and len(word) >= 3:
                count = PREFIX_WEIGHT * sum(n for other, n in each.items() if _begins(word, other))
            if count:
                hits[name] = count
        rarity = math.log(1 + (total - len(hits) + 0.5) / (len(hits) + 0.5))
        for name, count in hits.items():
            weight = count * (K1 + 1) / (count + K1 * (1 - B + B * lengths[name] / (average or 1.0)))
            scores[name] = scores.get(name, 0.0) + rarity * weight
    return scores


def _begins(word: str, other: str) -> bool:
    return other.startswith(word) or (len(other) > 3 and word.startswith(other))


def _merged(
    scores: Mapping[str, float], vector: Sequence[float], vectors: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    near = {name: cosine for name, other in vectors.items() if (cosine := _cosine(vector, other)) > 0}
    merged: dict[str, float] = {}
    for order in (scores, near):
        for rank, name in enumerate(sorted(order, key=lambda n: (-order[n], n)), 1):
            merged[name] = merged.get(name, 0.0) + 1 / (RANK + rank)
    return merged


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b)) / norm if norm else 0.0
