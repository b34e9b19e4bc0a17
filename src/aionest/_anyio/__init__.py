"""Scopes that outlive their run: anyio's task groups and cancel scopes, left by another task than the one that entered them.

anyio is never imported from here. ``install.watch()`` waits for its asyncio backend to be imported, ``probe`` decides
whether that version's internals are as expected, ``scopes`` and ``asyncgens`` do the work.
"""
