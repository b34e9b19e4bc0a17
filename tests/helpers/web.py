"""HTTP servers of tests: in a thread, on a port of this machine that is free, gone at the end.

On the path of all tests, as ``support``.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading


class Quiet(http.server.BaseHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, *args):
        pass


class Answering(Quiet):
    """Answers whole bodies, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def reply(self, status, content=b"", kind="application/json", **headers):
        """Bytes as they are, anything else as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(handler, *, port=0, kind=http.server.ThreadingHTTPServer, **attributes):
    """A server with these attributes, beside ``base``, its address, and ``stop``: an event that is set before it ends."""
    server = kind(("127.0.0.1", port), handler)
    server.base, server.stop = f"http://127.0.0.1:{server.server_port}", threading.Event()
    server.__dict__.update(attributes)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
