"""The engine's Python half: asyncio and the C module, and nothing of what stands on them.

What is patched into asyncio's loops (``install``), the methods of a loop (``loop_methods``), a loop inside another (``guest``),
loops that are not asyncio's own (``foreign_classes``). Layers above are heard before a loop closes (``closing``), never imported.
"""
