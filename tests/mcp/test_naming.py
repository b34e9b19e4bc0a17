"""unique_names: no two alike, whatever comes in, and nobody renamed by another's arrival."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("mcp")

from aionest.mcp.tools import splits, unique_names

# short alphabets, so that clashes are found
part = st.one_of(st.text("ab_-. ", max_size=8), st.text("_a", max_size=70), st.text(max_size=20))
pairs = st.lists(st.tuples(part, part), max_size=25)
styles = st.sampled_from(["server__tool", "server_tool", "server-tool", "tool"])


@given(pairs, styles, st.integers(16, 80))
def test_names_are_unique_and_safe(given_pairs, style, length):
    names = unique_names(given_pairs, style, max_length=length)
    assert set(names) == set(given_pairs)
    assert len(set(names.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) and len(name) <= length for name in names.values())


@given(pairs, styles, st.randoms(use_true_random=False))
def test_order_does_not_matter(given_pairs, style, random):
    shuffled = list(given_pairs)
    random.shuffle(shuffled)
    assert unique_names(shuffled, style) == unique_names(given_pairs, style)


@given(pairs, pairs, st.sampled_from(["server__tool", "server_tool", "server-tool"]))
def test_others_do_not_rename(some, others, style):
    before, after = unique_names(some, style), unique_names([*some, *others], style)
    assert all(after[pair] == name for pair, name in before.items())


@given(pairs)
def test_names_given_out_can_be_names_of_tools_again(given_pairs):
    first = unique_names(given_pairs)
    again = [*given_pairs, *(tuple(name.split("__", 1)) for name in first.values() if "__" in name)]
    names = unique_names(again)
    assert len(set(names.values())) == len(set(again))
    assert all(names[pair] == name for pair, name in first.items())


def test_plain_names():
    assert unique_names([("git", "status"), ("my-server", "read_file")]) == {
        ("git", "status"): "git__status",
        ("my-server", "read_file"): "my-server__read_file",
    }


def test_names_that_could_be_read_two_ways():
    names = unique_names([("a", "b__c"), ("a__b", "c"), ("a", "_b"), ("a_", "b")])
    assert names["a", "b__c"] == "a__b__c" and names["a", "_b"] == "a___b" and len(set(names.values())) == 4


def test_a_long_name_keeps_its_beginning():
    name = unique_names([("server", "x" * 100)])["server", "x" * 100]
    assert name.startswith("server__xxx") and len(name) == 64


def test_bare_names_where_they_are_clear():
    names = unique_names([("a", "x"), ("b", "x"), ("c", "y"), ("d", "a__x")], "tool")
    assert names == {("a", "x"): "a__x", ("b", "x"): "b__x", ("c", "y"): "y", ("d", "a__x"): "d__a__x"}


def test_what_is_refused():
    with pytest.raises(ValueError, match="no style"):
        unique_names([], "tool.server")
    with pytest.raises(ValueError, match="at least 16"):
        unique_names([], max_length=8)


def test_names_as_people_write_them():
    assert list(splits("a.b")) == [("a", "b")]
    assert list(splits("my.own__server.x/y")) == [
        ("my", "own__server.x/y"),
        ("my.own__server", "x/y"),
        ("my.own__server.x", "y"),
        ("my.own", "server.x/y"),
    ]
    assert list(splits("a")) == list(splits(".a")) == list(splits("a.")) == []
