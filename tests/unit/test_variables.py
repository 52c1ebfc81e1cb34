"""Variables of the environment in what an operator writes."""

import pytest

from orchestrator import variables

ENVIRONMENT = {"KEY": "k-1", "EMPTY": "", "TOLD": "${KEY}"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Bearer ${KEY}", "Bearer k-1"),
        ("${KEY}${KEY}", "k-1k-1"),
        ("[${EMPTY}]", "[]"),
        ("${TOLD}", "${KEY}"),
        ("$KEY {KEY} ${} ${1} ${KEY", "$KEY {KEY} ${} ${1} ${KEY"),
        ({"a": ["${KEY}", 1, None, True]}, {"a": ["k-1", 1, None, True]}),
        ({"${KEY}": 1.5}, {"${KEY}": 1.5}),
    ],
)
def test_variables_are_replaced_in_strings(written, read):
    """At any depth, once over; not in names, and what only looks like one is left alone."""
    assert variables.filled(written, ENVIRONMENT) == (read, [])


def test_what_is_not_set_is_named_where_it_stands():
    """All of it, so that one look mends the file."""
    _, unset = variables.filled({"a": {"b": ["", "${ONE} ${KEY} ${TWO}"]}, "c": "${ONE}"}, {})
    named = [("ONE", ("a", "b", 1)), ("KEY", ("a", "b", 1)), ("TWO", ("a", "b", 1))]
    assert [(one.name, one.keys) for one in unset] == [*named, ("ONE", ("c",))]
    assert unset[0].reason == "environment variable ONE is not set"


def test_they_stand_only_where_they_may():
    """Elsewhere the text is kept as it is."""
    written = {"url": "${KEY}", "options": {"url": "${KEY}"}}
    found = variables.filled(written, ENVIRONMENT, lambda keys: keys[0] == "options")
    assert found == ({"url": "${KEY}", "options": {"url": "k-1"}}, [])
