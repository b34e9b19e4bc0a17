"""Top-level runs: their loop, their Ctrl-C, their end, and what outlives it. Imported at the first such run."""

from .interrupt import run_task
from .thread_loop import close_persistent_loops, persistent_loop, policy_loop
from .top import run_closing, run_on, run_top

__all__ = [
    "close_persistent_loops",
    "persistent_loop",
    "policy_loop",
    "run_closing",
    "run_on",
    "run_task",
    "run_top",
]
