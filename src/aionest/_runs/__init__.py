"""Top-level runs: their loop, their Ctrl-C, their end, and what outlives it. Imported at the first such run."""
