"""The OpenAPI document: exported, complete and true."""

import json
import re
import string
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.routes import ASGIRoute, HTTPRoute

from orchestrator.api import (
    catalogue,
    lanes,
    openapi,
    preflight,
    records,
    replays,
    webhook_secrets,
)
from orchestrator.api.app import create_app
from orchestrator.api.between import Rules
from orchestrator.api.codes import STATUSES, Code
from orchestrator.api.dialects.asyncqueue import requests as asyncqueue
from orchestrator.api.dialects.cloro import requests as cloro
from orchestrator.api.problems import Problem
from orchestrator.api.regions import countries
from orchestrator.api.replays import ReplayRequest
from orchestrator.api.requests import parse, parse_for
from orchestrator.api.webhook_secrets import WebhookSecretRequest
from orchestrator.domain import ids
from orchestrator.domain.ids import EventId
from orchestrator.sealing import Sealer
from orchestrator.settings import Settings
from tests.api import dialects
from tests.contract.shapes import told as tidings
from workers import signing
from workers.signing import Signer

EXPORTED = Path(__file__).parents[2] / "openapi" / "openapi.json"
DOCUMENT = json.loads(openapi.text())

edges = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 12),
    st.sampled_from([1.0, 10.0, 0.5, -0.0, 1e300]),
    st.sampled_from(
        ["", " ", "a", "US", "us", "u\u017f", "\u00df", "en", "de-CH", "x" * 40, "\x7f"]
    ),
    st.sampled_from(["\u2003", " a ", "x" * 41, "x" * 255, "x" * 256, "x" * 10_001, "\0", "a\n"]),
    st.text(max_size=5),
    st.lists(st.sampled_from(["x", "y", "X", 1]), max_size=3),
    st.dictionaries(st.sampled_from(["k", "", "x" * 64, "x" * 65, "\0"]), st.text(max_size=2)),
)


def resolve(reference: str):
    part = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def pythonic(part):
    """The same with patterns for Python, whose `$` is before a last line feed too."""
    if isinstance(part, dict):
        made = {name: pythonic(value) for name, value in part.items()}
        if isinstance(part.get("pattern"), str):
            made["pattern"] = re.sub(r"\$$", r"\\Z", part["pattern"])
        return made
    return [pythonic(item) for item in part] if isinstance(part, list) else part


def references(part) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in references(value)]
    return [found for item in part for found in references(item)] if isinstance(part, list) else []


def contents():
    """Each described body, with a name for the test's report."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                for media, content in response["content"].items():
                    yield pytest.param(content, id=f"{method} {path} {status} {media}")


def test_the_exported_document_is_the_one_that_is_served():
    """`parallax openapi > openapi/openapi.json` after a change of the API, and commit it."""
    assert EXPORTED.read_text() == openapi.text()


def test_the_document_has_every_route_and_no_other():
    """A path or method without a description, or described and not served, is a drift."""
    app = create_app(Settings(database_url="postgresql:///none"))
    served = {
        (method.lower(), route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    } | {("post", route.path_format) for route in app.routes if isinstance(route, ASGIRoute)}
    described = {
        (method, path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert described == served


def test_every_code_is_described_somewhere():
    """Each error code a client may meet has an operation that names it, at its status."""
    told = {
        (int(status), name)
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        for name in response["content"].get("application/json", {}).get("examples", {})
        if name.isupper()
    }
    anywhere = {Code.METHOD_NOT_ALLOWED}  # of the server, not of an operation
    assert told == {(STATUSES[code].value, code.value) for code in Code if code not in anywhere}


def test_every_reference_leads_somewhere():
    """No `$ref` dangles."""
    assert all(resolve(reference) for reference in references(DOCUMENT))


@pytest.mark.parametrize("content", list(contents()))
def test_every_example_fits_its_schema(content):
    """What the document shows is what its schemas allow."""
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    for example in content.get("examples", {}).values():
        jsonschema.validate(resolve(example["$ref"])["value"], schema)


def test_a_snapshot_may_say_nothing_of_concurrency():
    """The schema of the snapshot allows null there, as its readers of old expect."""
    schema = {"$ref": "#/components/schemas/Snapshot", "components": DOCUMENT["components"]}
    (told,) = DOCUMENT["paths"]["/v1/async/status"]["get"]["responses"]["200"]["content"].values()
    for example in told["examples"].values():
        jsonschema.validate(resolve(example["$ref"])["value"] | {"concurrency": None}, schema)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/search/{surface}"])
def test_the_example_submission_fits_its_schema(path):
    """So does the body of a submission, and one with both query and prompt does not."""
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    jsonschema.validate(content["example"], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content["example"] | {"query": "a", "prompt": "too"}, schema)


def test_the_pattern_of_a_country_is_every_country_and_nothing_else():
    """Of all pairs of letters, in any case, exactly the codes of ISO 3166-1 match."""
    pattern = resolve("#/components/schemas/RegionIn")["properties"]["country"]["pattern"]
    pairs = map("".join, product(string.ascii_letters, repeat=2))
    assert {pair for pair in pairs if re.search(pattern, pair)} == {
        cased
        for code in countries()
        for cased in map("".join, product(*zip(code, code.lower(), strict=True)))
    }


SURFACES = dialects.SURFACES
RULES = Rules(default_country="US", max_children=500)
BODIES = {
    "SubmitRequest": ({"query": "a", "surfaces": ["x"]}, parse),
    "SurfaceRequest": ({"query": "a"}, partial(parse_for, "x")),
    "PreflightRequest": ({"jobs": 1, "surfaces": ["x"]}, preflight.parse),
    "LimitRequest": ({"concurrency": 1}, lambda body, _: lanes.parse(body)),
    "ReplayRequest": (
        {"from": "2026-01-05T09:30:00Z", "to": "2026-01-05T09:30:00.5Z"},
        lambda body, _: records.parse(ReplayRequest, body, replays.across),
    ),
    "WebhookSecretRequest": (
        {},
        lambda body, _: records.parse(WebhookSecretRequest, body, webhook_secrets.across),
    ),
    "CloroTaskRequest": (
        {"taskType": "CHATGPT", "payload": {"prompt": "a"}},
        lambda body, rules: faults_of(cloro.task(body, rules, THERE)),
    ),
    "CloroPayload": (
        {"prompt": "a"},
        lambda body, rules: faults_of(cloro.monitor("CHATGPT", body, rules, THERE)),
    ),
    "QueueTaskRequest": (
        {"queue": "a", "webhook_url": "https://example.com/"},
        lambda body, rules: faults_of(asyncqueue.task(body, rules, THERE)),
    ),
}
THERE = catalogue.make([*SURFACES], {}, {})


def faults_of(read):
    """The faults of what a dialect read."""
    return read.details if isinstance(read, Problem) else read


@pytest.mark.parametrize("record", BODIES)
@given(data=st.data())
def test_what_the_schema_allows_of_a_field_the_parser_takes(record, data):
    """Field by field, the document and the parser draw the same line.

    Not of free JSON: no schema says that there is no NUL at any depth of it.
    """
    described = resolve(f"#/components/schemas/{record}")
    apart = {"prompt", "options", "regions", "query"}
    if record == "QueueTaskRequest":
        apart.add("payload")
    names = sorted(described["properties"].keys() - apart)
    name = data.draw(st.sampled_from(names))
    value = data.draw(edges)
    body, read = BODIES[record]
    schema = pythonic({**described, "components": DOCUMENT["components"]})
    allowed = jsonschema.Draft202012Validator(schema).is_valid(body | {name: value})
    faults = read(json.dumps(body | {name: value}).encode(), RULES)
    assert isinstance(faults, list) is not allowed


WEBHOOKS = st.fixed_dictionaries(
    {},
    optional={
        "url": st.sampled_from(
            [
                *("https://example.com/hook", "HTTP://example.com:8080?a=b#c", "http://a.example"),
                *("", "example.com", "https:example.com", "https://", "http://a b.example/"),
                *(
                    "https://example.com/\\",
                    "ftp://example.com/",
                    "https://u@example.com/",
                    5,
                    None,
                ),
                f"https://example.com/{'x' * 2028}",
                f"https://example.com/{'x' * 2029}",
            ]
        ),
        "secret": st.one_of(
            st.none(),
            st.integers(0, 1),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
            st.sampled_from(
                ["x" * 256, "x" * 257, "whsec_", "whsec_YQ==", "whsec_YQ", "whsec_Y W"]
            ),
            st.text("Aa+/=-_\n", max_size=9).map(lambda encoded: f"whsec_{encoded}"),
        ),
        "events": st.none() | st.lists(st.sampled_from(["job", "parent", "x", 1]), max_size=3),
        "method": st.just("POST"),
    },
)


@given(WEBHOOKS)
def test_what_the_schema_allows_of_a_webhook_the_parser_takes(webhook):
    """Where a pattern can say it: what else an address must not be, the parser alone says."""
    described = resolve("#/components/schemas/WebhookIn")
    schema = pythonic({**described, "components": DOCUMENT["components"]})
    allowed = jsonschema.Draft202012Validator(schema).is_valid(webhook)
    body = {"query": "a", "surfaces": ["x"], "webhook": webhook}
    faults = parse(json.dumps(body).encode(), RULES._replace(sealer=Sealer("k" * 32)))
    assert isinstance(faults, list) is not allowed


def test_what_webhooks_are_told_is_described():
    """The bodies of events of children and parents fit the schemas, as the examples do."""
    (told,) = DOCUMENT["webhooks"]["event"]["post"]["requestBody"]["content"].values()
    schema = {**told["schema"], "components": DOCUMENT["components"]}
    examples = [resolve(example["$ref"])["value"] for example in told["examples"].values()]
    bodies = [json.loads(body) for body in tidings.BODIES.values()]
    for body in examples + bodies:
        jsonschema.validate(body, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body | {"type": "job.partial"}, schema)


def test_what_is_sent_beside_an_event_is_described():
    """The headers of a delivery, signed by two secrets, fit; without any they may be absent."""
    described = DOCUMENT["webhooks"]["event"]["post"]["parameters"]
    event = ids.event_text(EventId(ids.new(), 1, 1))
    at = datetime(2026, 1, 5, tzinfo=UTC)
    signers = [Signer("whsec_YQ=="), Signer("a secret")]
    sent = signing.headers(event, b"{}", signers, at=at)
    for header in described:
        assert re.search(header["schema"]["pattern"], sent[header["name"].lower()])
    unsigned = signing.headers(event, b"{}", [], at=at)
    assert {one["name"] for one in described if one["required"]} <= unsigned.keys()
    assert len(described) == len(sent) - len({"content-type"})


def test_every_response_has_the_common_headers():
    """X-Request-ID and X-Parallax-Version everywhere, the rate wherever a key was."""
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                assert {"X-Request-ID", "X-Parallax-Version"} <= response["headers"].keys()
                keyed = bool(operation["security"]) and status != "401"
                assert ("X-RateLimit-Limit" in response["headers"]) is keyed


def test_what_always_comes_is_required():
    """A refusal says when to come back, a job where it is, a 401 how to introduce oneself."""
    always = {
        "401": {"WWW-Authenticate"},
        "429": {"Retry-After", "X-Concurrency-Limit", "X-Concurrency-Running"},
        "503": {"Retry-After"},
        "504": {"Location"},
    }
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                headers = response["headers"]
                required = {name for name, header in headers.items() if "$ref" in header}
                assert always.get(status, set()) <= required
                assert all(resolve(headers[name]["$ref"])["required"] for name in required)


def test_a_time_out_is_described_only_where_one_waits():
    """504 and SURFACE_UNAVAILABLE belong to submissions; what needs no database has no 503."""
    waits = {"/v1/search", "/v1/search/{surface}"}
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            assert ("504" in operation["responses"]) is (path in waits)
            assert ("429" in operation["responses"]) is bool(operation["security"])
    assert "503" not in DOCUMENT["paths"]["/schema/openapi.json"]["get"]["responses"]


def test_the_version_is_the_distributions():
    """The API says the version that `pyproject.toml` does."""
    pyproject = (EXPORTED.parents[1] / "pyproject.toml").read_text()
    assert f'version = "{openapi.VERSION}"' in pyproject
    assert json.loads(EXPORTED.read_text())["info"]["version"] == openapi.VERSION
