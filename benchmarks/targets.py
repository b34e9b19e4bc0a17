"""What each workload is measured against and what it has to reach: workload -> (implementations, reference, target).

A target is the largest ratio, aionest to the reference, that counts as reached. The first implementation is always the
reference that the table's ratios refer to.
"""

# trees of tasks (_tree.py): how a task starts, what a leaf does, how a node waits for its children
TREE_STARTS = (("", ""), ("eager_", "eager "))
TREE_LEAVES = (("none", "nothing"), ("io", "sleep"), ("memoization", "look-ups"), ("cpu_io_mixed", "sleep or work"))
TREE_NODES = (("gather", "gather"), ("group", "TaskGroup"))

TARGETS = {
    "task_switch": (("stock", "aionest", "nest_asyncio", "nest_asyncio2", "uvloop"), 0.45),
    "create_task": (("stock", "aionest", "nest_asyncio", "nest_asyncio2", "uvloop"), 0.40),
    "queues": (("stock", "aionest", "nest_asyncio", "nest_asyncio2", "uvloop"), 0.45),
    "call_soon": (("stock", "aionest", "nest_asyncio", "nest_asyncio2", "uvloop"), 0.36),
    "timers": (("stock", "aionest", "nest_asyncio", "nest_asyncio2", "uvloop"), 0.35),
    "timeout": (("stock", "aionest", "nest_asyncio", "nest_asyncio2", "uvloop"), 0.60),
    "stream_echo": (("stock", "aionest", "nest_asyncio", "nest_asyncio2", "uvloop"), 0.60),
    **{
        f"tree_{start}{kind}_{how}": (("stock", "aionest"), 0.9 if start else 1.0)
        for start, _ in TREE_STARTS
        for kind, _ in TREE_LEAVES
        for how, _ in TREE_NODES
    },
    "nested_vs_task": (("aionest:create_task", "aionest:nested"), 1.2),
    "nested_vs_nest_asyncio": (("nest_asyncio:nested", "aionest:nested", "nest_asyncio2:nested"), 0.25),
    "await_value": (("greenback:await_value", "aionest:await_value"), 0.10),
    "await_sleep0": (("greenback:await_sleep0", "aionest:await_sleep0"), 0.25),
    "suspended_time": (("greenback:suspended_time", "aionest:suspended_time"), 0.30),
    "suspended_memory": (("greenback:suspended_memory", "aionest:suspended_memory"), 2.0),
    "top_level": (("stock", "aionest", "nest_asyncio", "nest_asyncio2"), 1.25),
    "import": (("stock:import", "aionest:import"), None),
}
IMPORT_MS = 5.0  # milliseconds over `import asyncio`

# the oldest Python that has what a workload is made of: asyncio.timeout, asyncio.TaskGroup, eager tasks
NEEDS = {
    "timeout": (3, 11),
    **{
        w: (3, 12) if "eager" in w else (3, 11)
        for w in TARGETS
        if w.startswith("tree_") and ("eager" in w or "group" in w)
    },
}

TITLES = {
    "task_switch": "task switch (100 tasks, sleep(0))",
    "create_task": "create_task + await",
    "queues": "two queues, ping-pong",
    "call_soon": "call_soon chain",
    "timers": "call_at, 40 000 timers",
    "timeout": "asyncio.timeout around sleep(0)",
    "stream_echo": "stream echo, 64 B, socketpair",
    **{
        f"tree_{start}{kind}_{how}": f"{eager}tree of tasks, {node}, leaves: {leaf}"
        for start, eager in TREE_STARTS
        for kind, leaf in TREE_LEAVES
        for how, node in TREE_NODES
    },
    "nested_vs_task": "a nested run, to create_task + await on the same loop",
    "nested_vs_nest_asyncio": "a nested run, to nest_asyncio's",
    "await_value": "await_ of a coroutine that does not wait, to greenback's",
    "await_sleep0": "await_(asyncio.sleep(0)), to greenback's",
    "suspended_time": "20 000 suspended at once: time each, to greenback's",
    "suspended_memory": "20 000 suspended at once: memory each, to greenback's",
    "top_level": "a top-level asyncio.run that does nothing (nest_asyncio leaves its loop open)",
    "import": "import aionest; aionest.apply(): ms over import asyncio",
}
