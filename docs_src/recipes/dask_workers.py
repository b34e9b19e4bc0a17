"""Dask: each worker has servers of its own, which all of its tasks and threads use."""

import logging
import sys

from distributed import Client, LocalCluster, WorkerPlugin, get_worker

from aionest.mcp import ToolsLoader

NOTES = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}


class Tools(WorkerPlugin):
    async def setup(self, worker):
        worker.tools = ToolsLoader({"notes": NOTES})
        await worker.tools.load_async()

    async def teardown(self, worker):
        await worker.tools.cleanup_async()


def read(number):
    tools = get_worker().tools
    return tools.call("notes.read", {"id": number}, timeout=30).text, tools.status["notes"].pid


if __name__ == "__main__":
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None, "silence_logs": logging.ERROR}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        client.register_plugin(Tools())
        done = client.gather(client.map(read, [1, 2, 3] * 4, pure=False))
        print(done[0][0])
        print(len({pid for _, pid in done}) <= 2)
