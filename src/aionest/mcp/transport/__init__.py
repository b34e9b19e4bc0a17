"""How a server is reached: over the pipes of a process, by streamable HTTP, by HTTP with events.

Contract: ``base``. Knows nothing of sessions' states, calls or tools; what became of a request is asked through ``Sent``.
"""
