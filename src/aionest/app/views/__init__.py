"""The pages. Not in a folder called pages: Streamlit would take each file there for a page of its own accord.

Contract: functions without arguments that draw a page; errors of servers and tools are shown, never raised.
"""

from __future__ import annotations

import gc

from .about import about
from .assistant import assistant
from .messages import messages
from .offers import prompts, resources
from .servers import servers
from .sessions import sessions
from .tools import tools

__all__ = ["about", "assistant", "messages", "prompts", "resources", "servers", "sessions", "tools"]

# Streamlit collects garbage after each run of the script, which takes longer than the run. What is imported by now never becomes any.
gc.collect()
gc.freeze()
