"""Ray: each actor has servers of its own, and keeps them from call to call."""

import sys

import ray

from aionest.mcp import ToolsLoader

NOTES = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}


@ray.remote
class Notes:
    def __init__(self):
        self.tools = ToolsLoader({"notes": NOTES})
        self.tools.load()

    def read(self, number):
        return self.tools.call("notes.read", {"id": number}, timeout=30).text, self.tools.status["notes"].pid


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    actors = [Notes.remote() for _ in range(2)]
    done = ray.get([actor.read.remote(number) for number in (1, 2, 3) for actor in actors])
    print(done[0][0])
    print(len({pid for _, pid in done}))
    ray.shutdown()
