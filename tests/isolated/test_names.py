"""Tasks are named as on stock asyncio: nothing of ours takes a number."""

from __future__ import annotations

import json

import pytest

PROGRAM = """
import asyncio, json, sys

nested = {nested}
if {applied}:
    import aionest

    aionest.apply({options})


def name():
    return asyncio.current_task().get_name()


async def inner():
    await asyncio.sleep(0)
    return name()


async def main():
    names = [name()]
    names.append(asyncio.run(inner()) if nested else await asyncio.create_task(inner()))
    names.append(await asyncio.create_task(inner()))
    names += await asyncio.gather(inner(), inner())
    tasks = [asyncio.get_running_loop().create_task(asyncio.sleep(0))]
    tasks += [asyncio.create_task(asyncio.sleep(0), name=given) for given in ("mine", None)]
    await asyncio.wait(tasks)
    return names + [task.get_name() for task in tasks]


loop = asyncio.new_event_loop()
print(json.dumps([loop.run_until_complete(main()), loop.run_until_complete(main())]))
loop.close()
"""


@pytest.fixture
def names(child):
    def run(**kwargs):
        r = child(PROGRAM.format(**{"nested": False, "applied": True, "options": "", **kwargs}))
        assert (r.returncode, r.stderr) == (0, "")
        return json.loads(r.stdout)

    return run


@pytest.mark.parametrize("options", ["", "close_loop=True"])
@pytest.mark.parametrize("nested", [False, True])
def test_tasks_count_as_on_stock(names, nested, options):
    stock = names(applied=False)
    assert stock[0][0] == "Task-1"
    assert names(nested=nested, options=options) == stock


def test_the_first_task_of_asyncio_run_is_the_first(child):
    r = child(
        "import asyncio, aionest; aionest.apply()\n"
        "async def main(): return asyncio.current_task().get_name()\n"
        "print(asyncio.run(main()))\n"
    )
    assert (r.stdout, r.stderr) == ("Task-1\n", "")


def test_direct_use_without_apply_takes_no_number(child):
    r = child(
        "import asyncio, aionest\n"
        "async def main(): return asyncio.current_task().get_name(), aionest.await_(asyncio.sleep(0, 'x'))\n"
        "print(*aionest.run(main()))\n"
    )
    assert (r.stdout, r.stderr) == ("Task-1 x\n", "")


def test_a_portal_and_a_hosted_resource_come_after_what_ran_before(child):
    """Loading the other parts takes no number either, only tasks that they really start do."""
    r = child(
        "import asyncio, aionest, aionest._hosted.resource, aionest._portal.default\n"
        "aionest.apply()\n"
        "async def main(): return asyncio.current_task().get_name()\n"
        "print(asyncio.run(main()))\n"
    )
    assert (r.stdout, r.stderr) == ("Task-1\n", "")


def test_a_run_that_leaves_tasks_takes_the_numbers_that_stock_takes(child):
    """asyncio waits for what it cancels by a future, not in a task."""
    program = """
        import asyncio, sys
        if sys.argv[1:]:
            import aionest; aionest.apply()

        async def leaves():
            asyncio.create_task(asyncio.sleep(3600))

        async def name():
            return asyncio.current_task().get_name()

        asyncio.run(leaves())
        print(asyncio.run(name()))
    """
    stock = child(program)
    assert stock.stdout.startswith("Task-"), stock
    r = child(program, "applied")
    assert (r.stdout, r.stderr) == (stock.stdout, "")
