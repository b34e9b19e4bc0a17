"""Runs one module of a unittest suite and tells what happens, line by line, while it happens.

Started by supervise.py in a process (and session) of its own. Writes JSON lines to the file `--events`, each in one
write, so that after a hang or a crash the last lines name the test that was running:

    hello       version of Python; where aionest came from (modes apply and apply-close)
    discovered  only with --discover: every module of the suite, with its test ids or why it is skipped
    loaded      keys of the tests found in the module        module-skip   the module is skipped as a whole
    start/end   a test, with its outcome: pass fail error skip xfail uxsuccess
    broken-off  an exception that unittest lets through (KeyboardInterrupt) ended the test before it had an outcome
    fixture     setUpClass, setUpModule, tearDown... failed or skipped: its tests do not start
    note        an exception that Python could only print (unraisable, or out of a thread)
    ran         all tests are over                            done          all that is left is to exit

A key is the id of the test; when the module loads the same id more than once, `#2`, `#3`... is added.
The surroundings are those of `python -m test`: no resources, a temporary directory as cwd (the parent's job), tests
loaded and run without a runner that changes the warning filters. Uses nothing but the standard library.
"""

import argparse
import faulthandler
import importlib
import json
import os
import pkgutil
import signal
import sys
import threading
import traceback
import unittest

KEY = "_suite_key"
MODES = ("stock", "apply", "apply-close")


class Events:
    """The file that the parent reads. A fork of this process writes nothing: its tests are not ours."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._pid = os.getpid()

    def emit(self, event, **fields):
        if os.getpid() == self._pid:
            line = json.dumps({"ev": event, **fields}, default=repr) + "\n"
            os.write(self._fd, line.encode("utf-8", "backslashreplace"))


def key_of(test):
    key = getattr(test, KEY, None)
    return test.id() if key is None else key


class Result(unittest.TestResult):
    """Sends each outcome as an event; keeps nothing of a test that is over."""

    # From mild to bad: a test that fails and whose tearDown errors has errored.
    ORDER = ("pass", "skip", "xfail", "uxsuccess", "fail", "error")

    def __init__(self, events):
        super().__init__()
        self.events = events
        self.running = None
        self._outcome = None
        self._texts = []

    def startTest(self, test):
        super().startTest(test)
        self.running, self._outcome, self._texts = key_of(test), None, []
        self.events.emit("start", key=self.running)

    def stopTest(self, test):
        super().stopTest(test)
        if self.running is None:  # as 3.12.1 calls it, see _set()
            return
        if self._outcome is None:
            self.events.emit("broken-off", key=self.running, texts=[traceback.format_exc()])
        else:
            self.events.emit("end", key=self.running, outcome=self._outcome, texts=self._texts)
        self.running, self._texts = None, []

    def _set(self, test, outcome, text):
        if self.running is None:
            # Either a fixture, or a test that is skipped without being started (unittest of 3.12.1).
            event = "end" if hasattr(test, KEY) else "fixture"
            self.events.emit(event, key=key_of(test), outcome=outcome, texts=[text])
            return
        if self._outcome is None or self.ORDER.index(outcome) > self.ORDER.index(self._outcome):
            self._outcome = outcome
        if text:
            self._texts.append(text)

    def addSuccess(self, test):
        self._set(test, "pass", "")

    def addError(self, test, err):
        self._set(test, "error", self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        self._set(test, "fail", self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):
        if err is not None:
            outcome = "fail" if issubclass(err[0], test.failureException) else "error"
            self._set(test, outcome, f"{subtest._subDescription()}\n{self._exc_info_to_string(err, test)}")

    def addSkip(self, test, reason):
        if isinstance(test, unittest.case._SubTest):  # the rest of the test does run, but no addSuccess follows
            self._set(test, "pass", "")
        else:
            self._set(test, "skip", str(reason))

    def addExpectedFailure(self, test, err):
        self._set(test, "xfail", "")

    def addUnexpectedSuccess(self, test):
        self._set(test, "uxsuccess", "expected to fail, but it passed")


def tests_of(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from tests_of(item)
        else:
            yield item


def load(module):
    """The module's suite, each test marked with its key."""
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromModule(importlib.import_module(module))
    if loader.errors:
        raise RuntimeError("\n".join(loader.errors))
    seen = {}
    for test in tests_of(suite):
        number = seen[test.id()] = seen.get(test.id(), 0) + 1
        setattr(test, KEY, test.id() if number == 1 else f"{test.id()}#{number}")
    return suite


def keep_only(suite, keys):
    kept = []
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            keep_only(item, keys)
            kept.append(item)
        elif key_of(item) in keys:
            kept.append(item)
    suite._tests = kept


def discover(package_name):
    """Every test module of the package: its keys, or why it is skipped, or why it cannot be loaded."""
    found = {}
    package = importlib.import_module(package_name)
    for info in pkgutil.iter_modules(package.__path__):
        if not info.name.startswith("test_"):
            continue
        name = f"{package_name}.{info.name}"
        try:
            found[name] = {"keys": [key_of(t) for t in tests_of(load(name))]}
        except unittest.SkipTest as exc:
            found[name] = {"skip": str(exc)}
        except Exception:
            found[name] = {"error": traceback.format_exc()}
    return found


def set_up_process(events):
    """What `python -m test` does to its process before it runs a module, as far as tests can notice."""
    faulthandler.enable(all_threads=True)
    for name in ("SIGALRM", "SIGUSR1"):  # SIGUSR1 is what the parent sends when we hang
        if hasattr(signal, name):
            faulthandler.register(getattr(signal, name), chain=True)
    # A parent in the background of a shell leaves us SIGINT ignored, and asyncio.Runner then installs no handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    old_unraisable, old_thread = sys.unraisablehook, threading.excepthook

    def unraisable(info):
        events.emit("note", kind="unraisable", text=f"{info.err_msg or 'Exception ignored in'}: {info.exc_value!r}")
        old_unraisable(info)

    def out_of_thread(info):
        events.emit("note", kind="thread", text=repr(info.exc_value))
        old_thread(info)

    sys.unraisablehook, threading.excepthook = unraisable, out_of_thread


def set_up_support():
    """The switches of test.support, as `python -m test` sets them; None where there is no such package."""
    try:
        from test import support
    except ImportError:
        return None
    support.use_resources = {}  # None would mean all of them
    support.verbose = 0
    support.record_original_stdout(sys.stdout)
    return support


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", required=True)
    parser.add_argument("--mode", choices=MODES, default="stock")
    parser.add_argument("--only", metavar="FILE", help="JSON list of the keys to run")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--module")
    what.add_argument("--discover", metavar="PACKAGE")
    args = parser.parse_args()
    sys.path.pop(0)  # this file's folder: the suite must not see it

    events = Events(args.events)
    hello = {"version": "%d.%d" % sys.version_info[:2], "full": sys.version, "executable": sys.executable}
    set_up_process(events)
    aionest = None
    if args.mode != "stock":
        import aionest

        aionest.apply(close_loop=True if args.mode == "apply-close" else None)
        hello["aionest"] = aionest.__file__
    support = set_up_support()
    events.emit("hello", **hello)

    if args.discover:
        events.emit("discovered", modules=discover(args.discover))
        return

    try:
        suite = load(args.module)
    except unittest.SkipTest as exc:
        events.emit("module-skip", text=str(exc))
        return
    events.emit("loaded", keys=[key_of(t) for t in tests_of(suite)])
    if args.only:
        with open(args.only, encoding="utf-8") as file:
            keep_only(suite, set(json.load(file)))
    suite(Result(events))
    events.emit("ran")
    del suite
    if support is not None:
        support.gc_collect()
        support.reap_children()
    events.emit("done", applied=None if aionest is None else aionest.is_applied())


if __name__ == "__main__":
    main()
