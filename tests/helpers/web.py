"""HTTP servers of tests: in a thread, on a port of this machine that is free, gone at the end.

On the path of all tests, as ``support``.
"""

from __future__ import annotations

import contextlib
import http.server
import threading


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
