"""What counts as worse with aionest: the comparison of two sides, without a process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.suites import compare
from tools.suites.supervise import BAD, Outcome, Side, outcome_of, plain


def side(outcomes=None, *, warnings=(), logs=(), left=None, **more):
    outcomes = {**(outcomes or {}), **more}
    return Side(
        {k: Outcome(v) for k, v in outcomes.items()},
        list(outcomes),
        list(warnings),
        list(logs),
        left or {"threads": [], "children": [], "descriptors": {}},
    )


class Again:
    """Answers of runs that are done again: by side, one after the other. What was asked for is kept."""

    def __init__(self, ours=(), stock=()):
        self.answers = {True: list(ours), False: list(stock)}
        self.asked = []

    def __call__(self, apply, keys):
        self.asked.append((apply, list(keys)))
        answer = self.answers[apply].pop(0)
        return answer if isinstance(answer, Side) else side(answer)


def judge(stock, ours, again=None, differs=None, allow=(), complete=True):
    stock.outcomes.setdefault("f::always", Outcome("pass"))
    ours.outcomes.setdefault("f::always", Outcome("pass"))
    return compare.judge(stock, ours, differs or {}, list(allow), again or Again(), complete)


@pytest.mark.parametrize("ours", sorted(BAD | {"skip"}))
def test_a_pass_on_stock_that_is_anything_worse_is_found(ours):
    assert compare.worse(Outcome("pass"), Outcome(ours))


@pytest.mark.parametrize("outcome", ["pass", "fail", "error", "hang", "crash", "skip", "xfail", "xpass"])
def test_the_same_on_both_sides_is_no_difference(outcome):
    assert compare.worse(Outcome(outcome), Outcome(outcome)) is None


@pytest.mark.parametrize("ours", ["hang", "crash"])
def test_a_hang_is_worse_than_a_failure_on_stock(ours):
    assert compare.worse(Outcome("fail"), Outcome(ours))


def test_a_test_that_is_gone_is_worse_and_one_that_failed_on_stock_may_be_gone():
    assert compare.worse(Outcome("pass"), None)
    assert compare.worse(Outcome("fail"), None) is None


def test_a_failure_that_stock_does_not_even_collect_is_worse():
    assert compare.worse(None, Outcome("error"))
    assert compare.worse(None, Outcome("pass")) is None


def test_what_fails_alone_again_and_passes_on_stock_is_new():
    again = Again(ours=[{"f::a": "fail"}], stock=[{"f::a": "pass"}])
    verdict = judge(side({"f::a": "pass"}), side({"f::a": "fail"}), again)
    assert verdict.new == {"f::a": "pass on stock, fail with aionest"} and not verdict.good
    assert again.asked == [(True, ["f::a"]), (False, ["f::a"])]


def test_what_fails_on_stock_when_run_again_is_unsteady():
    again = Again(ours=[{"f::a": "fail"}], stock=[{"f::a": "fail"}])
    verdict = judge(side({"f::a": "pass"}), side({"f::a": "fail"}), again)
    assert list(verdict.unsteady) == ["f::a"] and verdict.good


def test_what_fails_only_in_the_company_of_its_file_is_as_real():
    stock = side({"f::a": "pass", "f::b": "pass", "g::c": "pass"})
    ours = side({"f::a": "pass", "f::b": "fail", "g::c": "pass"})
    again = Again(ours=[{"f::b": "pass"}, {"f::a": "pass", "f::b": "fail"}], stock=[{"f::a": "pass", "f::b": "pass"}])
    verdict = judge(stock, ours, again)
    assert list(verdict.new) == ["f::b"]
    assert again.asked == [(True, ["f::b"]), (True, ["f::a", "f::b"]), (False, ["f::a", "f::b"])]


def test_what_passes_alone_and_with_its_file_is_unsteady():
    again = Again(ours=[{"f::a": "pass"}, {"f::a": "pass"}])
    verdict = judge(side({"f::a": "pass"}), side({"f::a": "hang"}), again)
    assert list(verdict.unsteady) == ["f::a"] and verdict.good


def test_a_test_that_vanishes_when_run_again_does_not_pass():
    again = Again(ours=[{}], stock=[{"f::a": "pass"}])
    assert list(judge(side({"f::a": "pass"}), side({"f::a": "fail"}), again).new) == ["f::a"]


def test_what_was_never_collected_cannot_be_run_again_and_is_new():
    verdict = judge(side({"f::a": "pass"}), side(), Again())
    assert list(verdict.new) == ["f::a"]


def test_a_suite_that_cannot_be_collected_is_one_difference():
    stock, ours = side({"f::a": "pass", "f::b": "pass"}), side()
    ours.outcomes[":collect"] = Outcome("crash", "why")
    ours.outcomes["f::always"] = Outcome("pass")
    assert list(judge(stock, ours).new) == [":collect"]


def test_too_many_differences_are_not_run_again():
    names = [f"f::t{n}" for n in range(compare.ENOUGH + 1)]
    verdict = judge(side(dict.fromkeys(names, "pass")), side(dict.fromkeys(names, "fail")), Again())
    assert list(verdict.new) == names


def test_a_listed_difference_is_told_with_its_reason():
    verdict = judge(side({"f::a[x]": "pass"}), side({"f::a[x]": "fail"}), differs={"f::a": "why"})
    assert verdict.listed == {"f::a[x]": "why"} and verdict.good


def test_a_listed_test_that_does_not_differ_fails_the_run():
    verdict = judge(side({"f::a": "pass"}), side({"f::a": "pass"}), differs={"f::a": "why"})
    assert "take it off" in verdict.problems[0] and not verdict.good


def test_a_listed_test_that_does_not_exist_fails_a_whole_run_only():
    assert judge(side(), side(), differs={"f::a": "why"}).problems
    assert not judge(side(), side(), differs={"f::a": "why"}, complete=False).problems


def test_a_suite_of_which_nothing_passes_on_stock_compares_nothing():
    verdict = compare.judge(side({"f::a": "fail"}), side({"f::a": "fail"}), {}, [], Again())
    assert verdict.problems and not verdict.good


@pytest.mark.parametrize(
    "key, pattern, matched",
    [
        ("f.py::T::a[x-1]", "f.py", True),
        ("f.py::T::a[x-1]", "f.py::T", True),
        ("f.py::T::a[x-1]", "f.py::T::a", True),
        ("f.py::T::a[x-1]", "f.py::T::a[x-1]", True),
        ("f.py::T::a[x-1]", "*a[x-*", True),
        ("f.py::T::ab", "f.py::T::a", False),
        ("tests/f.py::a", "tests", True),
        ("tests2/f.py::a", "tests", False),
    ],
)
def test_patterns(key, pattern, matched):
    assert compare.matches(key, pattern) is matched


def test_a_new_warning_is_noise_and_one_that_stock_has_with_other_numbers_is_not():
    stock = side(warnings=[("f::a", "ResourceWarning", "unclosed <socket fd=3> 0xabcdef01")])
    ours = side(
        {"f::a": "pass", "f::b": "pass"},
        warnings=[
            ("f::b", "ResourceWarning", "unclosed <socket fd=11> 0xabcdef99"),
            ("f::b", "RuntimeWarning", "coroutine 'x' was never awaited"),
        ],
    )
    again = Again(ours=[ours], stock=[side()])
    (text,) = judge(stock, ours, again).noise
    assert text.startswith("f::b: RuntimeWarning")
    assert again.asked == [(True, ["f::a", "f::b"]), (False, ["f::a", "f::b"])]


@pytest.mark.parametrize("who", ["nobody", "stock too"])
def test_noise_that_is_not_said_again_or_by_stock_as_well_is_unsteady(who):
    ours = side({"f::b": "pass"}, logs=[("f::b", "ERROR Task was destroyed")])
    again = Again(ours=[side() if who == "nobody" else ours], stock=[ours])
    verdict = judge(side({"f::b": "pass"}), ours, again)
    assert verdict.good and "destroyed" in verdict.unsteady["f::b"]


def test_the_noise_of_a_failing_test_is_told_once():
    again = Again(ours=[{"f::a": "fail"}], stock=[{"f::a": "pass"}])
    ours = side({"f::a": "fail"}, logs=[("f::a", "ERROR Task was destroyed")])
    assert judge(side({"f::a": "pass"}), ours, again).noise == []


def test_a_new_line_in_asyncios_log_is_noise():
    (text,) = judge(side(), side(logs=[("f::a", "ERROR Task was destroyed but it is pending!\ntask: 12")])).noise
    assert "destroyed" in text


def test_how_long_a_step_took_is_no_noise():
    slow = "WARNING Executing <Task pending name='Task-7' coro=<f() running at x.py:1>\n cb=[y]> took 0.104 seconds"
    assert judge(side(), side(logs=[("f::a", slow)])).good


def test_allowed_noise_is_left_out():
    ours = side(logs=[("f::a", "ERROR Task was destroyed but it is pending!")])
    assert judge(side(), ours, allow=["Task was destroyed"]).good


def test_what_is_left_over_is_compared_by_kind_and_number():
    stock = side(left={"threads": ["asyncio_0"], "children": [], "descriptors": {"pipe": 3, "socket": 1}})
    ours = side(
        left={"threads": ["asyncio_1", "worker"], "children": ["python"], "descriptors": {"pipe": 2, "socket": 3}}
    )
    found = judge(stock, ours).noise
    assert len(found) == 3
    assert any("threads: worker" in t for t in found)
    assert any("children: python" in t for t in found)
    assert any("3 descriptors (socket), 1 on stock" in t for t in found)


def test_an_outcome_is_the_worst_of_its_phases():
    def report(when, outcome, text=""):
        return {"when": when, "outcome": outcome, "text": text}

    assert outcome_of([report("setup", "passed"), report("call", "failed", "x")]).outcome == "fail"
    assert outcome_of([report("call", "failed", "x"), report("teardown", "failed", "y")]).outcome == "error"
    assert outcome_of([report("setup", "skipped", "why")]).outcome == "skip"
    assert outcome_of([report("call", "xfail")]).outcome == "xfail"
    # a plugin that runs tests again
    rerun = [report("call", "rerun", "x"), report("setup", "passed"), report("call", "passed")]
    assert outcome_of(rerun).outcome == "pass"


def test_plain_blanks_what_differs_from_run_to_run():
    assert plain("<A at 0x7f12> in /tmp/a/b.py:12") == plain("<A at 0x99> in /home/c.py:7")


def test_what_was_not_over_in_time_is_not_compared_and_fails_the_run():
    for stock, ours in [("pass", "late"), ("late", "fail")]:
        verdict = judge(side({"f::a": stock}), side({"f::a": ours}))
        assert not verdict.new and "1 tests, f::a" in verdict.problems[0]
