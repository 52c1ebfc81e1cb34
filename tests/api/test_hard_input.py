"""Input at its limits, beyond them, and input nobody should send: all of it is answered."""

import json
from typing import Any, NamedTuple

import msgspec
import pytest

from orchestrator.api.regions import countries
from orchestrator.domain import ids
from orchestrator.settings import Settings
from orchestrator.store import parents
from orchestrator.store.surfaces import register
from orchestrator.surfaces import SurfaceDescriptor

pytestmark = pytest.mark.anyio

WIDE = "z" * 40
"""A surface of the longest name there is, in every country, which takes any options."""
BODY = {"query": "shoes", "surfaces": [WIDE]}
ASTRAL = "\U0001f97e"  # one character: four bytes of UTF-8, two units of UTF-16
COUNTRIES = sorted(countries())


@pytest.fixture
def settings(database) -> Settings:
    return Settings(database_url=database, max_children=60, sync_max_children=3, sync_wait=0.05)


@pytest.fixture
async def client(client, connection):
    wide = SurfaceDescriptor(name=WIDE, adapter="http", method="http", options_schema={})
    await register(connection, [wide])
    return client


def sized(size: int) -> dict[str, Any]:
    """Options of exactly so many bytes as JSON."""
    empty = len(msgspec.json.encode({WIDE: {"a": ""}}))
    return {WIDE: {"a": "x" * (size - empty)}}


def deep(levels: int) -> dict[str, Any]:
    """Options with so many objects and lists inside each other."""
    value: Any = []
    for _ in range(levels - 3):
        value = [value]
    return {WIDE: {"a": value}}


def entries(number: int) -> dict[str, str]:
    return {str(n): "v" for n in range(number)}


def place(**fields: str) -> list[dict[str, str]]:
    return [{"country": "US"} | fields]


class Limit(NamedTuple):
    """A field at its limit and one step beyond, the path of that fault and what it says."""

    field: str
    allowed: Any
    refused: Any
    said: str
    path: str | None = None


LIMITS = [
    Limit("query", "a" * 10_000, "a" * 10_001, "At most 10000 characters"),
    Limit("query", ASTRAL * 10_000, ASTRAL * 10_001, "At most 10000 characters"),
    Limit("query", "a", "", "At least 1 character"),
    Limit("surfaces", [WIDE], [WIDE + "z"], "Must match", "surfaces[0]"),
    Limit("surfaces", [WIDE], ["Chatgpt"], "Must match", "surfaces[0]"),
    Limit("surfaces", [WIDE], [], "At least 1"),
    Limit("surfaces", ["chatgpt", WIDE], [WIDE, WIDE], "Repeats surfaces[0]", "surfaces[1]"),
    Limit("regions", COUNTRIES[:50], COUNTRIES[:51], "At most 50"),
    Limit("regions", ["US"], [], "At least 1"),
    Limit("regions", ["gB"], ["GBR"], "ISO 3166-1", "regions[0].country"),
    Limit("regions", ["sS"], ["\u00df"], "ISO 3166-1", "regions[0].country"),
    Limit(
        "regions", place(city="x" * 100), place(city="x" * 101), "100 characters", "regions[0].city"
    ),
    Limit("regions", place(city=" Rome "), place(city="\u2003"), "spaces", "regions[0].city"),
    Limit(
        "regions",
        place(language="de-Latn-CH-1996"),
        place(language="de_CH"),
        "Must match",
        "regions[0].language",
    ),
    Limit("regions", ["US", "GB"], ["US", *place()], "Repeats regions[0]", "regions[1]"),
    Limit(
        "regions",
        [*place(city="Bonn"), *place(city="Bonn", language="de")],
        [*place(city="STRASSE"), *place(city="stra\u00dfe")],
        "Repeats regions[0]",
        "regions[1]",
    ),
    Limit(
        "regions",
        [*place(city="Nime"), *place(city="N\u00eeme")],
        [*place(city="N\u00eeme"), *place(city="Ni\u0302me")],
        "Repeats regions[0]",
        "regions[1]",
    ),
    Limit("priority", 1, 0, "At least 1"),
    Limit("priority", 10, 11, "At most 10"),
    Limit("priority", 5.0, 5.5, "whole number"),
    Limit("priority", None, "5", "whole number"),
    Limit("maxAttempts", 1, 0, "At least 1"),
    Limit("maxAttempts", 10, 11, "At most 10"),
    Limit("options", sized(16_384), sized(16_385), "16,384 bytes"),
    Limit("options", deep(32), deep(33), "32 levels"),
    Limit("options", {WIDE: {}}, {"chatgpt": {}}, "not asked for", "options.chatgpt"),
    Limit("metadata", entries(16), entries(17), "At most 16"),
    Limit(
        "metadata",
        {ASTRAL * 64: ""},
        {ASTRAL * 65: ""},
        "At most 64 characters",
        "metadata." + ASTRAL * 65,
    ),
    Limit("metadata", {"k": ""}, {"": ""}, "At least 1 character", "metadata."),
    Limit(
        "metadata", {"k": ASTRAL * 512}, {"k": ASTRAL * 513}, "At most 512 characters", "metadata.k"
    ),
    Limit("metadata", {"k": "1"}, {"k": 1}, "Must be text", "metadata.k"),
    Limit("idempotencyKey", ASTRAL * 255, ASTRAL * 256, "At most 255 characters"),
    Limit("idempotencyKey", "k", "", "At least 1 character"),
]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.field}: {limit.said}")
async def test_the_last_value_allowed_is_taken_and_the_next_refused(client, limit):
    """Each field at its limit is a 202, one step further a 400 with its path and the limit."""
    taken = await client.post("/v1/search", json=BODY | {limit.field: limit.allowed})
    assert taken.status_code == 202, taken.text
    refused = await client.post("/v1/search", json=BODY | {limit.field: limit.refused})
    assert refused.status_code == 400
    (fault,) = refused.json()["error"]["details"]
    assert fault["path"] == limit.path or (limit.path is None and fault["path"] == limit.field)
    assert limit.said in fault["message"]


async def test_as_many_cells_as_the_server_allows(client):
    """PARALLAX_MAX_CHILDREN cells are a 202, more are refused with both numbers."""
    body = BODY | {"surfaces": [WIDE, "chatgpt"]}
    taken = await client.post("/v1/search", json=body | {"regions": COUNTRIES[:30]})
    assert len(taken.json()["children"]) == 60
    refused = await client.post("/v1/search", json=body | {"regions": COUNTRIES[:31]})
    assert refused.json()["error"]["details"] == [
        {"path": "", "message": "2 surfaces in 31 regions are 62 cells; at most 60 are allowed."}
    ]


async def test_as_many_cells_as_can_be_waited_for(client):
    """PARALLAX_SYNC_MAX_CHILDREN cells can be waited for, more are told to come async."""
    taken = await client.post("/v1/search?mode=sync", json=BODY | {"regions": COUNTRIES[:3]})
    assert taken.status_code == 504  # nobody works
    refused = await client.post("/v1/search?mode=sync", json=BODY | {"regions": COUNTRIES[:4]})
    assert refused.status_code == 400
    assert "submit it async" in refused.json()["error"]["details"][0]["message"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"country": "US", "regions": ["US"]}, "country"),
        ({"city": "Rome", "regions": ["US"]}, "city"),
        ({"country": "XX"}, "country"),
        ({"city": ""}, "city"),
        ({"language": "e"}, "language"),
        ({"surfaces": [WIDE]}, "surfaces"),
    ],
)
async def test_the_shorthand_of_a_surfaces_path_has_its_limits_too(client, body, path):
    """`country`, `city` and `language` stand instead of `regions`, and the path names the one."""
    answer = await client.post(f"/v1/search/{WIDE}", json={"prompt": "shoes"} | body)
    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == [path]


@pytest.mark.parametrize(
    "name", ["Chatgpt", "z" * 41, "a%20b", "%00", "%0d%0aX: y", "%F0%9F%98%80"]
)
async def test_a_surface_that_cannot_be_one_is_the_fault_of_the_path(client, name):
    """A name no configuration allows is refused at `surface`, like a bad value elsewhere."""
    answer = await client.post(f"/v1/search/{name}", json={"prompt": "shoes"})
    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == ["surface"]


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("k" * 255, 202),
        ("a b", 202),
        ("k" * 256, 400),
        ("", 400),
        ("\u00e9", 400),
        ("a\tb", 400),
        ("a\r\nX-Evil: 1", 400),
        ("a\0", 400),
    ],
)
async def test_the_idempotency_key_in_a_header_has_its_limits(client, key, status):
    """1 to 255 visible ASCII characters; what else a header can hold is refused, not guessed at."""
    answer = await client.post("/v1/search", json=BODY, headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == status
    assert "X-Evil" not in answer.headers
    if status == 400:
        paths = [fault["path"] for fault in answer.json()["error"]["details"]]
        assert paths == ["Idempotency-Key"]


def put(field: str, text: str) -> bytes:
    """A body whose `field` is the text, or whose key is when the field is an object."""
    value = {text: "v"} if field == "metadata" else {WIDE: {"a": [text]}}
    return json.dumps(BODY | {field: value if field in {"metadata", "options"} else text}).encode()


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udc00\ud800"])
@pytest.mark.parametrize("field", ["query", "idempotencyKey", "metadata", "options"])
async def test_what_cannot_be_stored_is_refused_wherever_it_stands(client, field, text):
    """NUL and lone surrogates are faults with their path, in keys and deep inside too."""
    answer = await client.post("/v1/search", content=put(field, text))
    assert answer.status_code == 400
    (fault,) = answer.json()["error"]["details"]
    assert fault["path"].startswith(field)
    assert fault["message"] == "NUL and lone surrogates are not allowed."


def raw(value: bytes, field: bytes = b"priority") -> bytes:
    return b'{"query":"a","surfaces":["%s"],"%s":%s}' % (WIDE.encode(), field, value)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (raw(b"1e400"), ""),
        (raw(b"-1e400"), ""),
        (raw(b"NaN"), ""),
        (raw(b"Infinity"), ""),
        (raw(b"-Infinity"), ""),
        (raw(b"9" * 100_000), ""),
        (raw(b"9" * 1_000), "priority"),
        (raw(b"1e300"), "priority"),
        (raw(b"1e-400"), "priority"),
        (raw(b"0x10"), ""),
        (raw(b"05"), ""),
        (raw(b"'5'"), ""),
        (raw(b'"\xff"', b"query"), ""),
        (raw(b'"\xed\xa0\x80"', b"query"), ""),
        (raw(b'"a\nb"', b"query"), ""),
        (b"\xef\xbb\xbf" + raw(b"5"), ""),
        (raw(b"5").decode().encode("utf-16"), ""),
        (raw(b"[" * 100_000 + b"]" * 100_000, b"options"), ""),
        (raw(b"[" * 500 + b"]" * 500, b"options"), "options"),
        (raw(b"5") + b"{}", ""),
        (raw(b"5")[:-1], ""),
    ],
)
async def test_numbers_bytes_and_nesting_nobody_can_hold_are_a_400(client, body, path):
    """Huge and odd numbers, other encodings and bottomless nesting are faults like any other."""
    answer = await client.post("/v1/search", content=body)
    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == [path]


async def test_infinity_beside_what_cannot_be_stored_is_one_more_fault(client):
    """The reader that mends such characters takes numbers the other does not."""
    body = b'{"query":"\\ud800","surfaces":["%s"],"finish":{"atLeast":1e400}}' % WIDE.encode()
    answer = await client.post("/v1/search", content=body)
    assert answer.status_code == 400
    faults = {fault["path"] for fault in answer.json()["error"]["details"]}
    assert faults == {"query", "finish.atLeast"}


async def test_of_a_field_given_twice_the_last_counts(client, connection):
    """As with most readers of JSON; what is stored is what was read."""
    answer = await client.post("/v1/search", content=raw(b'"b"', b"query"))
    job = ids.read(answer.json()["jobId"])
    key = (await client.get("/v1/key")).json()["id"]
    row = await parents.read(connection, key_id=key, parent=job.parent)
    assert row.plan.query == "b"


async def test_a_flood_of_query_parameters_is_answered_with_a_hundred_faults(client):
    """Thousands of unknown parameters do not make a reply larger than the request."""
    query = "&".join(f"p{n}" for n in range(5_000))
    answer = await client.post(f"/v1/search?{query}", json=BODY)
    assert answer.status_code == 400
    assert len(answer.json()["error"]["details"]) == 100
    assert (await client.get(f"/v1/async/status?{query}")).status_code == 200


@pytest.mark.parametrize("sent", [b"a\r\nX-Evil: 1", b"a\nX-Evil: 1", b"\0", b"a b", b"\xff"])
async def test_a_request_id_is_reflected_only_when_it_is_harmless(client, sent):
    """No byte of the caller's reaches a header that could end it or begin another."""
    answer = await client.get("/v1/key", headers={"X-Request-ID": sent})
    assert answer.status_code == 200
    assert "X-Evil" not in answer.headers
    assert answer.headers["X-Request-ID"].isalnum()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/" + "a" * 60_000,
        "/v1/jobs/job_06h00r4h1trtr7pjt7b69j1f04.chatgpt." + "a" * 60_000,
        "/v1/jobs/job_06h00r4h1trtr7pjt7b69j1f04." + "%00" * 9 + ".us/results",
        "/v1/jobs/%0d%0aSet-Cookie:%20a=b",
        "/v1/jobs/%ff%fe%ed%a0%80",
        "/v1/" + "../" * 9_000,
        "//v1//jobs//",
    ],
)
async def test_an_absurd_path_is_a_404(client, path):
    """However long or odd; nothing of it comes back as a header."""
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] in {"JOB_NOT_FOUND", "NOT_FOUND"}
    assert "Set-Cookie" not in answer.headers
