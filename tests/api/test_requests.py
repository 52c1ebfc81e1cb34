"""From bytes to a plan, without a server."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import requests
from orchestrator.api.between import Rules
from orchestrator.api.regions import countries
from orchestrator.api.requests import MOST_FAULTS, Asked
from orchestrator.api.schemas import LARGEST_OPTIONS_BYTES
from orchestrator.domain.plan import Plan, encode
from orchestrator.domain.regions import Region

RULES = Rules(default_country="US", max_children=500)
BODY = {"query": "a", "surfaces": ["x"]}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=9,  # larger values are mostly thrown away, which takes most of the time
)
fields = st.sampled_from(
    (
        *("query", "prompt", "surfaces", "regions", "priority", "maxAttempts", "options"),
        *("metadata", "delay", "deadline", "finish", "group", "maxCredits"),
    )
)


def parse(body) -> Plan | list:
    asked = requests.parse(json.dumps(body).encode(), RULES)
    return asked if isinstance(asked, list) else asked.plan


def paths(body, rules=RULES) -> list[str]:
    faults = requests.parse(json.dumps(body).encode(), rules)
    assert isinstance(faults, list)
    return [fault.path for fault in faults]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(body):
    """Any bytes are a plan or a list of faults."""
    assert requests.parse(body, RULES)


@given(st.dictionaries(fields | st.text(), json_values, max_size=6))
def test_no_object_breaks_the_parser(body):
    """Any JSON object is a plan or a list of at most a hundred faults, each with a message."""
    parsed = parse(body)
    if isinstance(parsed, list):
        assert 0 < len(parsed) <= MOST_FAULTS
        assert all(fault.message.endswith(".") for fault in parsed)


@given(
    query=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=99
    ),
    surfaces=st.lists(
        st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True), min_size=1, max_size=9, unique=True
    ),
    codes=st.lists(st.sampled_from(sorted(countries())), min_size=1, max_size=9, unique=True),
    priority=st.integers(1, 10),
)
def test_a_right_request_becomes_its_plan(query, surfaces, codes, priority):
    """Every combination of allowed values is accepted, and nothing of it is lost."""
    body = {"query": query, "surfaces": surfaces, "regions": codes, "priority": priority}
    assert parse(body) == Plan(
        query=query,
        surfaces=tuple(surfaces),
        regions=tuple(Region(country=code) for code in codes),
        priority=priority,
    )


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a", "surfaces": ["x"]},
        BODY | {"regions": ["us"]},
        BODY | {"regions": [{"country": "Us", "city": None, "language": None}]},
        BODY | {"priority": 5, "maxAttempts": None, "options": None, "metadata": {}},
        BODY | dict.fromkeys(("delay", "deadline", "finish", "group", "maxCredits")),
        BODY | {"delay": 0, "finish": {"atLeast": 1}},
        BODY | {"delay": -0.0},
    ],
)
def test_aliases_shorthand_and_defaults_are_the_same_request(other):
    """Two ways to say the same thing make equal plans."""
    assert parse(other) == parse(BODY)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"surfaces": ["x"]}, "query"),
        (BODY | {"query": "a" * 10_001}, "query"),
        (BODY | {"query": "a\0b"}, "query"),
        (BODY | {"query": "a\ud800b"}, "query"),
        (BODY | {"prompt": "a"}, "prompt"),
        (BODY | {"surfaces": []}, "surfaces"),
        (BODY | {"surfaces": "x"}, "surfaces"),
        (BODY | {"surfaces": ["x", "x"]}, "surfaces[1]"),
        (BODY | {"regions": []}, "regions"),
        (BODY | {"regions": sorted(countries())[:51]}, "regions"),
        (BODY | {"regions": ["US", "XX"]}, "regions[1].country"),
        (BODY | {"regions": ["GLOBAL"]}, "regions[0].country"),
        (BODY | {"regions": [{"city": "Rome"}]}, "regions[0].country"),
        (BODY | {"regions": [{"country": "IT", "city": " "}]}, "regions[0].city"),
        (BODY | {"regions": [{"country": "IT", "city": "a\r\nb"}]}, "regions[0].city"),
        (BODY | {"regions": [{"country": "IT", "city": "a" * 101}]}, "regions[0].city"),
        (BODY | {"regions": [{"country": "IT", "language": "e n"}]}, "regions[0].language"),
        (BODY | {"regions": ["US", {"country": "us"}]}, "regions[1]"),
        (BODY | {"priority": 0}, "priority"),
        (BODY | {"priority": True}, "priority"),
        (BODY | {"priority": "5"}, "priority"),
        (BODY | {"priority": 10**30}, "priority"),
        (BODY | {"maxAttempts": 11}, "maxAttempts"),
        (BODY | {"max_attempts": 3}, "max_attempts"),
        (BODY | {"options": {"y": {}}}, "options.y"),
        (BODY | {"options": {"x": []}}, "options.x"),
        (BODY | {"options": {"x": {"a": "b" * LARGEST_OPTIONS_BYTES}}}, "options"),
        (BODY | {"options": {"x": {"a\0": 1}}}, "options.x.a\ufffd"),
        (BODY | {"metadata": {str(n): "v" for n in range(17)}}, "metadata"),
        (BODY | {"metadata": {"k" * 65: "v"}}, "metadata." + "k" * 65),
        (BODY | {"metadata": {"k": "v" * 513}}, "metadata.k"),
        (BODY | {"metadata": {"k": 1}}, "metadata.k"),
        (BODY | {"idempotencyKey": ""}, "idempotencyKey"),
        (BODY | {"idempotencyKey": "k" * 256}, "idempotencyKey"),
        (BODY | {"delay": -0.1}, "delay"),
        (BODY | {"delay": 7 * 86_400 + 0.1}, "delay"),
        (BODY | {"delay": "5"}, "delay"),
        (BODY | {"delay": True}, "delay"),
        (BODY | {"deadline": 0.9}, "deadline"),
        (BODY | {"deadline": 7 * 86_400 + 1}, "deadline"),
        (BODY | {"deadline": 10**30}, "deadline"),
        (BODY | {"delay": 5, "deadline": 5.0}, "deadline"),
        (BODY | {"delay": 5, "deadline": 1, "priority": 5.0}, "deadline"),
        (BODY | {"finish": 1}, "finish"),
        (BODY | {"finish": {}}, "finish.atLeast"),
        (BODY | {"finish": {"atLeast": 0}}, "finish.atLeast"),
        (BODY | {"finish": {"atLeast": 1.5}}, "finish.atLeast"),
        (BODY | {"finish": {"atLeast": 2}}, "finish.atLeast"),
        (BODY | {"finish": {"atLeast": 10**30}}, "finish.atLeast"),
        (BODY | {"finish": {"atLeast": 1, "atMost": 2}}, "finish.atMost"),
        (BODY | {"group": ""}, "group"),
        (BODY | {"group": "g" * 65}, "group"),
        (BODY | {"group": "a b"}, "group"),
        (BODY | {"group": "a\n"}, "group"),
        (BODY | {"group": "caf\u00e9"}, "group"),
        (BODY | {"maxCredits": -1}, "maxCredits"),
        (BODY | {"maxCredits": 0.5}, "maxCredits"),
        (BODY | {"maxCredits": 2**53}, "maxCredits"),
        (BODY | {"country": "US"}, "country"),
        (BODY | {"webhook": {}}, "webhook.url"),
        (BODY | {"webhooks": {}}, "webhooks"),
    ],
)
def test_each_fault_names_its_place(wrong, path):
    """A single wrong value is a single fault, at its path."""
    assert paths(wrong) == [path]


@pytest.mark.parametrize(
    "equal",
    [
        ["New York", "new york"],
        ["Cafe\u0301", "Caf\u00e9"],
        ["Stra\u00dfe", "STRASSE"],
    ],
)
def test_a_city_written_otherwise_is_the_same_cell(equal):
    """Cities are compared case-folded and in NFC."""
    body = BODY | {"regions": [{"country": "US", "city": city} for city in equal]}
    assert paths(body) == ["regions[1]"]


@pytest.mark.parametrize("more", [{}, {"delay": 0}, {"delay": -0.0}])
def test_what_was_not_asked_for_is_not_stored(more):
    """So a request from before a field was there is known again."""
    plain = Plan(query="a", surfaces=("x",), regions=(Region("US"),))
    assert encode(parse(BODY | more)) == encode(plain)


def test_too_many_cells_say_how_many_are_allowed():
    """The message has both numbers."""
    body = {"query": "a", "surfaces": ["x", "y", "z"], "regions": ["US", "GB"]}
    (fault,) = requests.parse(json.dumps(body).encode(), Rules("US", 5))
    assert fault.message == "3 surfaces in 2 regions are 6 cells; at most 5 are allowed."


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b'{"query":"a"} x', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"query":"\xff"}', "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
        (b'{"priority": 1e999}', "not JSON"),
        (b'{"priority": NaN}', "not JSON"),
        (b'{"query":"\\ud83d\\ude00","priority":NaN}', "not JSON"),
        (b'{"priority": ' + b"9" * 6_000 + b"}", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
    ],
)
def test_what_is_no_json_object_is_said_so(body, said):
    """Malformed, too deep, too large and other than an object: one fault of the whole body."""
    (fault,) = requests.parse(body, RULES)
    assert fault.path == ""
    assert said in fault.message


def test_options_may_not_be_nested_without_end():
    """Options 33 levels deep are refused, 30 are not."""

    def nested(levels):
        value = 1
        for _ in range(levels):
            value = [value]
        return BODY | {"options": {"x": {"a": value}}}

    assert isinstance(parse(nested(28)), Plan)
    assert paths(nested(33)) == ["options"]


@pytest.mark.parametrize(
    ("given", "planned"),
    [
        ({"delay": 7 * 86_400}, {"delay": 604_800.0}),
        ({"delay": 0.25, "deadline": 1}, {"delay": 0.25, "deadline": 1.0}),
        ({"delay": 9, "deadline": 9.5}, {"delay": 9.0, "deadline": 9.5}),
        ({"finish": {"atLeast": 1.0}, "surfaces": ["x", "y"]}, {"finish": 1}),
        ({"finish": {"atLeast": 2}, "surfaces": ["x", "y"]}, {}),
        ({"group": "A-z_0.9" + "g" * 57}, {"group": "A-z_0.9" + "g" * 57}),
        ({"maxCredits": 0}, {"max_credits": 0}),
        ({"maxCredits": 2**53 - 1}, {"max_credits": 2**53 - 1}),
    ],
)
def test_the_last_value_allowed_is_planned_with(given, planned):
    """Each at its edge, numbers as they are written; as many cells as there are is the default."""
    surfaces = tuple(given.get("surfaces", ["x"]))
    assert parse(BODY | given) == Plan(
        query="a", surfaces=surfaces, regions=(Region("US"),), **planned
    )


def test_faults_between_fields_are_said_beside_those_inside():
    """A field that is wrong by itself hides none that is wrong beside another."""
    body = {"surfaces": ["x"], "delay": 5, "deadline": 2, "finish": {"atLeast": 2}}
    assert paths(body) == ["query", "deadline", "finish.atLeast"]


def test_a_flood_of_faults_is_cut_off():
    """A body of ten thousand wrong things is answered with a hundred."""
    assert len(paths(BODY | {"surfaces": ["NO"] * 10_000})) == MOST_FAULTS


@pytest.mark.parametrize(
    ("short", "region"),
    [
        ({}, Region("US")),
        ({"country": "gb"}, Region("GB")),
        ({"city": "Boston", "language": "en"}, Region("US", "Boston", "en")),
        ({"country": None, "regions": ["DE"]}, Region("DE")),
    ],
)
def test_the_shorthand_of_a_surfaces_path_is_one_region(short, region):
    """`country`, `city` and `language` are the one region; what is left out is the default."""
    asked = requests.parse_for("x", json.dumps({"prompt": "a"} | short).encode(), RULES)
    assert asked == Asked(Plan(query="a", surfaces=("x",), regions=(region,)), None)


def test_both_paths_can_make_the_same_plan():
    """What is asked of one surface is the same request by either path, key included."""
    body = {"query": "a", "regions": ["US", "GB"], "idempotencyKey": "k", "priority": 3.0}
    whole = requests.parse(json.dumps(body | {"surfaces": ["x"]}).encode(), RULES)
    assert isinstance(whole, Asked)
    assert requests.parse_for("x", json.dumps(body).encode(), RULES) == whole


def test_every_fault_of_a_surfaces_path_is_said_at_once():
    """The name in the path, the clash of shorthand and list, and the fields, each with its path."""
    body = {"country": "US", "regions": ["US", "us"], "surfaces": ["x"], "options": {"y": {}}}
    faults = requests.parse_for("X", json.dumps(body).encode(), RULES)
    assert isinstance(faults, list)
    assert {fault.path for fault in faults} == {
        "surface",
        "country",
        "query",
        "surfaces",
        "regions[1]",
        "options.y",
    }
