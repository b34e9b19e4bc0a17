"""anyio is noticed however it is imported, and nobody's import machinery is changed. Each program has a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("anyio")

PRELUDE = """
import asyncio, importlib, importlib.machinery, sys
import aionest
from aionest._scopes import anyio_hook

BACKEND = "anyio._backends._asyncio"


class Front:
    \"\"\"Stands before ours and asks nobody else.\"\"\"

    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib.machinery.PathFinder.find_spec(name, path)


async def enter():
    import anyio

    return await anyio.create_task_group().__aenter__()


async def leave(group):
    await group.__aexit__(None, None, None)

"""


@pytest.fixture
def program(child):
    def run(source):
        r = child(PRELUDE + textwrap.dedent(source), env={"PYTHONWARNINGS": "error"})
        assert (r.returncode, r.stdout, r.stderr) == (0, "ok\n", "")

    return run


def test_a_finder_in_front_after_apply(program):
    program(
        """
        aionest.apply()
        sys.meta_path.insert(0, Front)
        import anyio
        asyncio.run(leave(asyncio.run(enter())))
        print("ok")
        """
    )


def test_a_finder_in_front_that_asks_all_others(program):
    """Ours asks all others as well."""
    program(
        """
        class Asking:
            def find_spec(self, name, path=None, target=None):
                specs = (f.find_spec(name, path, target) for f in sys.meta_path if f is not self)
                return next((spec for spec in specs if spec is not None), None)

        aionest.apply()
        sys.meta_path.insert(0, Asking())
        import anyio
        asyncio.run(leave(asyncio.run(enter())))
        print("ok")
        """
    )


def test_a_finder_in_front_and_the_import_inside_the_run(program):
    program(
        """
        aionest.apply()
        sys.meta_path.insert(0, Front)
        asyncio.run(leave(asyncio.run(enter())))
        print("ok")
        """
    )


def test_entered_and_left_by_two_tasks_of_one_run(program):
    program(
        """
        aionest.apply()
        sys.meta_path.insert(0, Front)

        async def main():
            group = await asyncio.create_task(enter())
            await asyncio.create_task(leave(group))

        asyncio.run(main())
        print("ok")
        """
    )


def test_nested_runs_without_a_turn_of_the_loop(program):
    program(
        """
        aionest.apply()
        sys.meta_path.insert(0, Front)

        async def main():
            asyncio.run(leave(asyncio.run(enter())))

        asyncio.run(main())
        print("ok")
        """
    )


def test_the_import_inside_a_generator_that_is_dropped(program):
    program(
        """
        import contextlib
        aionest.apply()
        sys.meta_path.insert(0, Front)

        @contextlib.asynccontextmanager
        async def resource():
            import anyio
            async with anyio.create_task_group() as group:
                yield group

        async def main():
            return await resource().__aenter__()

        group = asyncio.run(main())
        assert group.cancel_scope._active
        asyncio.run(leave(group))
        print("ok")
        """
    )


def test_a_loader_that_many_modules_share_stays_as_it_is(program):
    program(
        """
        class Shared(importlib.machinery.SourceFileLoader):
            one = None

            def __init__(self):
                pass

            def create_module(self, spec):
                return None

            def exec_module(self, module):
                spec = importlib.machinery.PathFinder.find_spec(module.__name__, module.__spec__.loader_state)
                exec(spec.loader.get_code(module.__name__), module.__dict__)

        shared = Shared()

        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if not name.startswith("anyio"):
                    return None
                spec = importlib.machinery.PathFinder.find_spec(name, path)
                if spec is not None:
                    spec.loader, spec.loader_state = shared, path
                return spec

        sys.meta_path.insert(0, Finder)
        aionest.apply()
        asyncio.run(leave(asyncio.run(enter())))
        import anyio.streams.memory
        assert vars(shared) == {}, vars(shared)
        for name in ("anyio", BACKEND, "anyio._core._eventloop"):
            module = sys.modules[name]
            assert module.__loader__ is shared and module.__spec__.loader is shared, name
        assert anyio_hook.is_installed()
        print("ok")
        """
    )


def test_the_usual_loader_is_what_the_module_has(program):
    program(
        """
        aionest.apply()
        asyncio.run(leave(asyncio.run(enter())))
        module = sys.modules[BACKEND]
        assert type(module.__loader__) is type(module.__spec__.loader) is importlib.machinery.SourceFileLoader
        import inspect
        assert "class CancelScope" in inspect.getsource(module)
        print("ok")
        """
    )


def test_nothing_of_ours_stays_in_the_way(program):
    program(
        """
        before = list(sys.meta_path)
        aionest.apply()
        assert sys.meta_path != before
        sys.meta_path.insert(0, Front)
        asyncio.run(enter())
        assert sys.meta_path[1:] == [Front, *before]  # back to the front
        import anyio; anyio.run
        sys.meta_path.insert(0, Front)
        asyncio.run(asyncio.sleep(0))
        assert sys.meta_path[0] is Front  # where it need not be any more
        aionest.unapply()
        assert sys.meta_path == [Front, Front, *before]
        aionest.apply()
        assert anyio_hook.is_installed() and sys.meta_path == [Front, Front, *before]
        aionest.unapply()
        assert not anyio_hook.is_installed()
        print("ok")
        """
    )


def test_a_finder_in_front_while_a_loop_runs(program):
    program(
        """
        import contextlib
        aionest.apply()

        @contextlib.asynccontextmanager
        async def resource():
            import anyio
            async with anyio.create_task_group() as group:
                yield group

        async def main():
            sys.meta_path.insert(0, Front)
            await asyncio.sleep(0)
            return await resource().__aenter__()

        asyncio.run(leave(asyncio.run(main())))
        print("ok")
        """
    )


def test_a_list_of_finders_that_was_replaced_or_emptied(program):
    program(
        """
        aionest.apply()
        sys.meta_path[:] = [importlib.machinery.BuiltinImporter, Front]
        asyncio.run(asyncio.sleep(0))
        sys.meta_path = [importlib.machinery.BuiltinImporter, Front]
        asyncio.run(leave(asyncio.run(enter())))
        sys.meta_path.clear()
        asyncio.run(asyncio.sleep(0))
        print("ok")
        """
    )


def test_taken_back_before_anything_was_imported(program):
    program(
        """
        before = list(sys.meta_path)
        aionest.apply()
        aionest.unapply()
        assert sys.meta_path == before
        asyncio.run(enter())
        assert not anyio_hook.is_installed()
        print("ok")
        """
    )


def test_a_module_in_the_making(program):
    program(
        """
        import pathlib, tempfile
        from aionest import _core
        from aionest._engine import imports as _imports

        folder = tempfile.mkdtemp()
        pathlib.Path(folder, "half.py").write_text("import __main__; __main__.start(); done = True")
        sys.path.insert(0, folder)
        found = []

        def start():
            _imports.want({"half": lambda module: found.append(module.done)})
            assert found == [] and not _imports.look()
            asyncio.run(asyncio.sleep(0))
            assert found == []

        aionest._engine.install.install()
        aionest.run(asyncio.sleep(0))
        import half
        aionest.run(asyncio.sleep(0))
        assert found == [True]
        print("ok")
        """
    )


def test_an_unknown_version_is_told_and_does_no_harm(child):
    source = PRELUDE + textwrap.dedent(
        """
        from aionest._scopes import anyio_probe as probe
        probe.SCOPE_FIELDS += ("not there",)
        aionest.apply()
        asyncio.run(enter())
        assert not anyio_hook.is_installed()
        print("ok")
        """
    )
    for filters in ("default", "error"):
        r = child(source, env={"PYTHONWARNINGS": filters})
        assert (r.returncode, r.stdout) == (0, "ok\n"), r.stderr
        assert r.stderr.count("not known to aionest") == 1


@pytest.mark.slow
@pytest.mark.noasan  # pytest starts without the sanitizer's library in front
def test_pytest_starts_with_warnings_as_errors(tmp_path):
    """anyio's plugin is one that pytest rewrites, with one loader for all of them."""
    (tmp_path / "early.py").write_text("import aionest\naionest.apply()\n")
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(
            """
            import asyncio
            import sys

            from aionest._scopes import anyio_hook


            async def enter():
                import anyio

                return await anyio.create_task_group().__aenter__()


            async def leave(group):
                await group.__aexit__(None, None, None)


            def test_scopes():
                asyncio.run(leave(asyncio.run(enter())))
                assert anyio_hook.is_installed()


            def test_loader():
                hook = sys.meta_path[0]
                assert "exec_module" not in vars(hook)
            """
        )
    )
    # pytest-asyncio warns of its own settings when it is not configured
    plugins = ["-p", "early", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    r = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins, str(tmp_path)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert r.returncode == 0, r.stdout + r.stderr
    assert "2 passed" in r.stdout and "warning" not in r.stdout


def test_a_finalizer_amid_the_first_run_s_imports_waits_for_their_end():
    """The first run imports a part of aionest. What the collector ends meanwhile may run something, too."""
    program = """
import asyncio, gc, sys
import aionest

aionest.apply()
results = []


class Nests:
    def __init__(self):
        self.itself = self

    def __del__(self):
        results.append(asyncio.run(asyncio.sleep(0, "finalizer")))


class Collects:
    found = 0

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.startswith("aionest._runs"):
            cls.found += 1
            for _ in range(2000):
                [[] for _ in range(3)]


sys.meta_path.insert(0, Collects)
gc.set_threshold(20)
Nests()
results.append(asyncio.run(asyncio.sleep(0, "run")))
gc.collect()
assert Collects.found > 1, Collects.found
print(sorted(results))
"""
    r = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (r.stdout, r.stderr) == ("['finalizer', 'run']\n", "")
