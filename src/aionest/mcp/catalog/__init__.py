"""The tools of all servers: at one moment, by server, found by words, in a retriever that is kept up to date.

Contract: no sessions; what is given out is never changed in place.
"""

from __future__ import annotations

from .bundle import ToolsBundle
from .catalog import Catalog
from .feeder import Feeder, Retriever
from .retriever import ToolsRetriever

__all__ = ["Catalog", "Feeder", "Retriever", "ToolsBundle", "ToolsRetriever"]
