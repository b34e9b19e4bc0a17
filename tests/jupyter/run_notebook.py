"""Runs cells, given as JSON, with nbclient and a kernel of this interpreter; prints what each gave, and the widgets. In a process of its
own: the client libraries leave sockets and threads to the interpreter's end."""

from __future__ import annotations

import json
import sys

import nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient

manager = KernelManager(kernel_name="python3")
manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
manager._kernel_spec = None
cells = [nbformat.v4.new_code_cell(source) for source in json.load(sys.stdin)]
book = nbformat.v4.new_notebook(cells=cells)
NotebookClient(book, km=manager, timeout=100).execute()
widgets = book.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
outputs = [[one.get("data", {}) or {"text": one.get("text")} for one in cell.outputs] for cell in book.cells]
print(json.dumps({"outputs": outputs, "widgets": [one["state"] for one in widgets.values()]}))
