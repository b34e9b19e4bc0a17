"""A Streamlit server started and visited without a browser: a session over its websocket, run by run.

Contract: ``Server`` ends its process; ``Session`` is one browser session, used by one thread at a time. Both raise TimeoutError
when what they wait for does not come.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect


class Server:
    """``python -m COMMAND`` on a free port, in the folder, with its output in a file there."""

    def __init__(self, command, folder, env=None):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.address = f"http://localhost:{self.port}"
        self.log = folder / "server.log"
        options = ["--server.port", str(self.port), "--server.headless", "true", "--server.address", "localhost"]
        self.begin = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, *options, "--browser.gatherUsageStats", "false"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=folder,
            )

    def wait(self, limit=120.0):
        """Until it answers."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{self.log.read_text()}")
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("localhost", self.port, timeout=5)
                connection.request("GET", "/_stcore/health")
                if connection.getresponse().status == 200:
                    connection.close()
                    return
                connection.close()
            time.sleep(0.05)
        raise TimeoutError("the server does not answer")

    def stop(self, number=signal.SIGTERM, limit=60.0):
        """End it; its output."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(limit)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        return self.log.read_text()

    def __enter__(self):
        self.wait()
        return self

    def __exit__(self, *exc):
        self.stop()


class Session:
    """A browser session: ``run()`` runs the script and gives the texts that it wrote."""

    def __init__(self, port, query=""):
        self.query = query
        end = time.monotonic() + 60
        while True:
            try:
                self.socket = connect(
                    f"ws://localhost:{port}/_stcore/stream", subprotocols=["streamlit"], max_size=None, open_timeout=60
                )
                break
            except (OSError, InvalidHandshake):  # older versions may drop it while they are starting
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        self.errors = []
        self.buttons = {}

    def send(self, button=None, stop=False):
        """Ask for a run, with a button pressed if one is named (of a fragment: for that alone), or for its stop."""
        message = BackMsg()
        if stop:
            message.stop_script = True
        else:
            message.rerun_script.query_string = self.query
        if button is not None:
            state = message.rerun_script.widget_states.widgets.add()
            state.id, fragment = self.buttons[button]
            state.trigger_value = True
            if fragment:
                message.rerun_script.fragment_id = fragment
        self.socket.send(message.SerializeToString())

    def finish(self, limit=120.0, until=None):
        """The texts of markdown elements up to the end of the run, or to the first one that has ``until`` in it.

        Exceptions that the page shows are added to ``errors``.
        """
        texts, started = [], False
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(self.socket.recv(limit))
            kind = answer.WhichOneof("type")
            if kind == "new_session":
                started = True
            elif kind == "delta" and answer.delta.WhichOneof("type") == "new_element":
                element = answer.delta.new_element
                what = element.WhichOneof("type")
                if what == "markdown":
                    texts.append(element.markdown.body)
                    if until is not None and until in texts[-1]:
                        return texts
                elif what == "exception":
                    self.errors.append(element.exception.message)
                elif what == "button":
                    self.buttons[element.button.label] = (element.button.id, answer.delta.fragment_id)
            elif kind == "script_finished" and started:
                # the end of a run that was cut short is told too, by other names
                if answer.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    return texts

    def run(self, button=None, limit=120.0):
        """``send()`` and ``finish()``."""
        self.send(button)
        return self.finish(limit)

    def close(self):
        """End the session."""
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
