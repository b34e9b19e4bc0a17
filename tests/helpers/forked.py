"""Programs without the second that their libraries take to import: forked from a process that has imported them already.

Contract: what runs is a process of its own, with its own arguments, environment, folder, descriptors and session, that ends as
an interpreter ends. Only libraries are imported ahead; aionest never is: each program imports of it
what it wants, in its own order. An environment with other variables that an interpreter reads at its start (PYTHON...) gets a new
interpreter, and so does everything on systems without pidfd, and where a library starts threads or has work for the exit when
it is imported, as some releases do. Where the end is ``quick``, all that a program has left at its end is found as ever, but what
was imported ahead is not taken apart: that takes as long as many a program, and has nothing of the program's. A server has one thread, and ends with the one who asked for it; one that the workers of
pytest-xdist share, with the last of them.

For a test that is about the start of the interpreter, or about what is imported when, this is not the place.

On the path of all tests, as ``support``. Run as a program it is the server.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import hashlib
import importlib.util
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
import warnings
import weakref
from typing import ClassVar

_HEAD = 10  # bytes: the length of a request
# what libraries start when they are imported: NumPy's, and the allocator of pandas' Arrow
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
FORKS = hasattr(os, "pidfd_open") and hasattr(socket, "send_fds")


# ---- the tests' side


class Program:
    """One that runs, as far as tests need it as subprocess.Popen has it."""

    def __init__(self, report):
        self._report = report  # its pid comes by this, and in the end its exit status
        self.returncode = None
        self.pid = self._next(None)

    def _next(self, timeout):
        if not select.select([self._report], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a forked program", timeout)
        line = os.read(self._report, 12)
        if not line:
            raise AssertionError("the process that programs are forked from has ended")
        return int(line)

    def poll(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)

    def wait(self, timeout=None):
        if self.returncode is None:
            self.returncode = self._next(timeout)
            os.close(self._report)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Server:
    """Where programs are forked: started at the first one, ended by close()."""

    pids: ClassVar[set[int]] = set()  # of all that run: children of this process that are no test's

    def __init__(self, *modules, options=(), shared=False, quick=False):
        self._modules, self._options = modules, options  # the interpreter's
        self._end = "quick" if quick else "whole"
        self._shared = shared  # among workers: for what a fixture of the session has there
        self._process = self._socket = None
        self._files, self._users = (), 0
        self._forks = False
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def there(self):
        """For a fixture of a session: what it has open is there before each test, so that none leaves it behind."""
        if self.can_fork():
            self.start()
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self.close()

    def can_fork(self):
        """Else each program is really started: also where a library is missing, as in environments for a part of the tests."""
        return FORKS and all(importlib.util.find_spec(name.partition(".")[0]) for name in self._modules)

    def start(self):
        """Once: what is there already is used."""
        if self._socket is not None:
            return
        self._environ = _of_the_interpreter(os.environ)
        workers = os.environ.get("PYTEST_XDIST_TESTRUNUID") if self._shared else None
        if workers is None:
            self._socket, theirs = socket.socketpair()
            self._launch(theirs, "connected")
            answer = self._socket.recv(1)
        else:
            answer = self._meet(workers)
        assert answer, "the libraries cannot be imported: see above"
        self._forks = answer == b"+"

    def _launch(self, theirs, how):
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *self._options, __file__, how, self._end, str(theirs.fileno()), *self._modules],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_NO_THREADS},
                start_new_session=True,  # no Ctrl-C of the terminal is for it
            )
        self.pids.add(self._process.pid)

    def _meet(self, workers):
        """Connect to the server of these workers. Whoever finds none starts it, while the others wait."""
        import fcntl

        what = hashlib.sha256(repr((workers, self._modules, self._options, self._end)).encode()).hexdigest()[:24]
        path = os.path.join(tempfile.gettempdir(), f"aionest-{what}")
        with open(f"{path}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for there in (True, False):
                if not there:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
                    listening = socket.socket(socket.AF_UNIX)
                    before = os.umask(0o177)  # nobody else may have programs run
                    try:
                        listening.bind(path)
                    finally:
                        os.umask(before)
                    listening.listen()
                    self._launch(listening, "listening")
                self._socket = socket.socket(socket.AF_UNIX)
                with contextlib.suppress(OSError):  # nobody listens, or it has just ended
                    self._socket.connect(path)
                    if answer := self._socket.recv(1):
                        self._files = path, f"{path}.lock"
                        return answer
                self._socket.close()
        return b""

    def close(self):
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # also if a child of this process has it
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.wait()  # for the others, too, if it is shared
            self.pids.discard(self._process.pid)
            self._process = None
            for file in self._files:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file)

    def popen(self, command, *, stdin, stdout, stderr, env=None, cwd=None, terminal=False):
        """Start [sys.executable, "-m" MODULE or "-c" PROGRAM, arguments...]; terminal: stdin is the one that controls it."""
        env = dict(os.environ if env is None else env)
        with self._lock:
            if self._socket is None and self.can_fork():
                self.start()
        if not self._forks or _of_the_interpreter(env) != self._environ:
            return subprocess.Popen(
                [command[0], *self._options, *command[1:]], stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd, start_new_session=True,
                preexec_fn=_control if terminal else None,
            )  # fmt: skip
        program, kind, *arguments = command
        assert program == sys.executable and kind in ("-c", "-m"), command
        request = {
            "kind": kind,
            "args": arguments,
            "env": env,
            "cwd": os.path.abspath(cwd or "."),
            "terminal": terminal,
        }
        data = json.dumps(request).encode()
        with self._lock:
            report, theirs = os.pipe()
            try:
                streams = [one if isinstance(one, int) else one.fileno() for one in (stdin, stdout, stderr)]
                socket.send_fds(self._socket, [b"%*d" % (_HEAD, len(data))], [*streams, theirs])
                self._socket.sendall(data)
            finally:
                os.close(theirs)
            return Program(report)

    @contextlib.contextmanager
    def talk(self, command, **more):
        """One with pipes, as text; stderr is stdout. It is killed, if it is there at the end."""
        read, stdin = os.pipe()
        stdout, write = os.pipe()
        with open(stdin, "w", buffering=1) as to, open(stdout) as of:
            try:
                process = self.popen(command, stdin=read, stdout=write, stderr=write, **more)
            finally:
                os.close(read)
                os.close(write)
            process.stdin, process.stdout = to, of
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def run(self, command, *, input="", env=None, cwd=None, timeout):
        """As subprocess.run() with capture_output and text."""
        read, write = os.pipe()
        with open(read, "rb") as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with open(write, "wb") as typed:
                assert len(input) < getattr(select, "PIPE_BUF", 512), "more than a pipe holds for sure"
                typed.write(input.encode())
            process = self.popen(command, stdin=stdin, stdout=out, stderr=err, env=env, cwd=cwd)
            try:
                code = process.wait(timeout)
            except BaseException:
                process.kill()
                process.wait()
                err.seek(0)
                print(err.read().decode("utf-8", "replace"), file=sys.stderr)
                raise
            texts = [_text(file) for file in (out, err)]
        return subprocess.CompletedProcess(command, code, *texts)


# what reaches MCP servers imports; then what the command line does, and what the app under Streamlit's test driver does
_CLIENT = ("mcp.client.stdio", "mcp.client.sse", "mcp.client.streamable_http", "mcp.client.auth", "anyio._backends._asyncio",
           "jsonschema", "platformdirs")  # fmt: skip
COMMANDS = Server(*_CLIENT, "typer", "rich.console", "rich.table", "rich.progress", shared=True, quick=True)
# (Streamlit's test driver makes a folder when it is imported: each has its own)
PAGES = Server(*_CLIENT, "streamlit", "pandas", "altair", shared=True, quick=True)


def _text(file):
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def environment(env):
    """This one with the variables that an interpreter reads at its start as they are here: else it is no fork that gets it."""
    return {**{name: env[name] for name in env.keys() - _of_the_interpreter(env)}, **_of_the_interpreter(os.environ)}


def _of_the_interpreter(env):
    return {name: value for name, value in env.items() if name.startswith(("PYTHON", "LC_", "LANG"))}


# ---- the server's side


def _control():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _exactly(control, size):
    data = b""
    while len(data) < size:
        data += control.recv(size - len(data))
    return data


def _tell(report, number):
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(report, b"%11d\n" % number)


def _serve(first, listening, answer):
    """Fork as it is asked to, and report ends. Returns in what was forked, with the request and its streams, and at the end.

    first: who asks, or None where it listens for who does; it ends with the last of them.
    """
    running = {}  # pidfd: (pid, where to report its end)
    controls = [] if first is None else [first]
    for control in controls:
        control.send(answer)
    begun = bool(controls)
    while controls or not begun:
        found = select.select([*controls, *listening, *running], [], [], None if begun else 60)[0]
        begun = True
        for ready in found:
            if ready in listening:
                controls.append(ready.accept()[0])
                controls[-1].send(answer)
                continue
            if ready in running:
                pid, report = running.pop(ready)
                _tell(report, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(report)
                os.close(ready)
                continue
            control, head = ready, b""
            with contextlib.suppress(ConnectionResetError):
                head, fds, _, _ = socket.recv_fds(control, _HEAD, 4)
            if not head:
                controls.remove(control)
                control.close()
                continue
            request = json.loads(_exactly(control, int(head + _exactly(control, _HEAD - len(head)))))
            *streams, report = fds
            pid = os.fork()
            if pid == 0:
                for fd, (_, other) in running.items():
                    os.close(fd)
                    os.close(other)
                os.close(report)
                for one in (*controls, *listening):
                    one.close()
                return request, streams
            _tell(report, pid)
            running[os.pidfd_open(pid)] = pid, report
            for fd in streams:
                os.close(fd)


def _become(request, streams):
    """What an interpreter has made of its arguments when it runs the first line of a program."""
    os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    if request["terminal"]:
        _control()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mine = getattr(sys, name)
        buffer = open(number, "wb" if number else "rb", closefd=False)
        stream = io.TextIOWrapper(
            buffer, mine.encoding, mine.errors, "\n", buffer.raw.isatty() or number == 2, mine.write_through
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.path[0] = request["cwd"] if request["kind"] == "-m" else ""
    sys.argv[:] = request["args"]


def _run(kind, what):
    sys.argv[0] = kind
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), main.__dict__)


def _end_quickly(code):
    """What an interpreter does at its end, but for taking apart its modules; not even that where the outputs are closed."""
    threading._shutdown()
    atexit.unregister(gc.freeze)  # the command line's, which ends sooner so; here it is looked for what is left
    atexit._run_exitfuncs()
    main = sys.modules["__main__"]
    if main is not itself:  # a module that was run as a program has gone
        main.__dict__.clear()
    gc.collect()  # what it says of things that were left comes now; what was imported ahead is frozen
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


def _code(exit):
    """The status that an interpreter makes of a SystemExit, and None of one that it has to print."""
    return 0 if exit.code is None else exit.code & 0xFF if isinstance(exit.code, int) else None


if __name__ == "__main__":
    itself = sys.modules["__main__"]  # its names stay
    quick = sys.argv[2] == "quick"
    control = socket.socket(fileno=int(sys.argv[3]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in sys.argv[4:]:
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is shared stays so
    # what a library does at the exit would be done by the first that ends
    alone = len(os.listdir("/proc/self/task")) == 1 and not weakref.finalize._registry
    shared = sys.argv[1] == "listening"
    found = _serve(None if shared else control, [control] if shared else [], b"+" if alone else b"-")
    control.close()
    del control
    if found is not None:
        _become(*found)
        code = 0
        try:
            _run(found[0]["kind"], sys.argv[0])
        except SystemExit as exc:
            code = _code(exc)
            if not quick or code is None:
                raise
        if quick:
            _end_quickly(code)
            sys.exit(code)
