"""What Schemathesis is told besides the document; it loads this module by `SCHEMATHESIS_HOOKS`.

They make valid data valid where JSON Schema has no words for a rule, and leave alone what is meant
to be invalid. No check is switched off.
"""

import json
import re
import unicodedata
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin

import httpx
import schemathesis

from orchestrator.api import moments
from tests.schemathesis import noting

DRAWN = "drawn."
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
DIALECTS = ("/v1/async/task", "/v1/monitor/", "/v1/tasks")
TASKS = "/v1/async/task/batch"
REPLAY = "/v1/webhooks/deliveries/replay"
SECRETS = "/v1/webhooks/secrets"
EVER = {"from": "2000-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"}


def identity(region: Any) -> tuple[str | None, ...]:
    """What two regions share that a person would call the same place."""
    place = {"country": region} if isinstance(region, str) else region
    fields = (place["country"], place.get("city"), place.get("language"))
    return tuple(f and unicodedata.normalize("NFC", f.strip()).casefold() for f in fields)


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: schemathesis.Case) -> schemathesis.Case:
    """Keep apart what no schema can; have a batch refuse what is wrong with one of its items."""
    if case.meta and case.operation.path.startswith(DIALECTS):
        return of_dialect(case)
    if not (case.meta and isinstance(case.body, dict)):
        return case
    batch = case.operation.path == "/v1/search/batch"
    if not case.meta.generation.mode.is_positive:
        if batch and ((case.query or {}).get("atomic") or "false") == "false":  # null is not sent
            case.query = {**(case.query or {}), "atomic": "true"}
        return case
    if batch:
        items = case.body.get("items", [])
        case.body = {**case.body, "items": [possible(item, item["surfaces"]) for item in items]}
    elif case.operation.path == REPLAY:
        case.body = ordered(case.body)
    elif "surfaces" in case.body or "surface" in (case.path_parameters or {}):
        return of_submission(case)
    return case


def of_submission(case: schemathesis.Case) -> schemathesis.Case:
    """An idempotency key in the body and one in the header are equal."""
    asked = case.body.get("surfaces") or [(case.path_parameters or {}).get("surface")]
    case.body = possible(case.body, asked)
    if (case.query or {}).get("mode") != "async":
        case.body.pop("delay", None)  # what is delayed cannot be waited for
    if case.body.get("idempotencyKey") is not None:
        case.headers.pop("Idempotency-Key", None)
    return case


def of_dialect(case: schemathesis.Case) -> schemathesis.Case:
    """A payload is any JSON that can be stored; a batch that is wrong is so as a whole."""
    wrong = not case.meta.generation.mode.is_positive
    if wrong and case.operation.path == TASKS and isinstance(case.body, list):
        case.body = {"tasks": case.body}  # each would be refused by itself
    elif not wrong and isinstance(case.body, dict | list):
        case.body = storable(case.body)
    return case


def storable(value: Any) -> Any:
    """What nothing can store left out: of JSON that may be anything no schema says it all."""
    match value:
        case str():
            return UNSTORABLE.sub("", value)
        case dict():
            return {storable(name): storable(inside) for name, inside in value.items()}
        case list():
            return [storable(inside) for inside in value]
        case _:
            return value


def possible(body: dict[str, Any], surfaces: list[str]) -> dict[str, Any]:
    """A submission whose fields agree.

    Options are for surfaces that are asked for. Regions may be equal although their JSON is not:
    `"us"` and `{"country": "US"}`. No more cells are enough than there are. The deadline is after
    the delay. No group is one that another case asks for as one that is not there.
    """
    body = dict(body)
    if body.get("options"):
        body["options"] = {k: v for k, v in body["options"].items() if k in surfaces}
    if body.get("regions"):
        body["regions"] = list({identity(region): region for region in body["regions"]}.values())
    if body.get("finish"):
        cells = len(surfaces) * len(body.get("regions") or [None])
        body["finish"] = {"atLeast": min(cells, body["finish"]["atLeast"])}
    if body.get("group"):
        body["group"] = DRAWN + body["group"][len(DRAWN) :]
    if body.get("deadline") is not None and body["deadline"] <= (body.get("delay") or 0):
        del body["delay"]
    return body


def ordered(body: dict[str, Any]) -> dict[str, Any]:
    """A replay that ends after its beginning."""
    since, until = moments.read(body["from"]), moments.read(body["to"])
    assert since
    assert until
    if since > until:
        return {**body, "from": body["to"], "to": body["from"]}
    return body if since < until else body | EVER


@schemathesis.deserializer("application/x-ndjson")
def first_line(
    context: schemathesis.DeserializationContext, response: schemathesis.Response
) -> Any:
    """The schema of a stream is that of each of its lines."""
    return json.loads(response.content.partition(b"\n")[0])


@schemathesis.hook
def after_call(
    context: schemathesis.HookContext, case: schemathesis.Case, response: schemathesis.Response
) -> None:
    """Tell the test. A webhook secret that was made is revoked: a key may have ten."""
    noting.note(case.operation.label, response.status_code, response.content)
    if case.operation.label == f"POST {SECRETS}" and response.status_code == HTTPStatus.CREATED:
        asked = response.request
        path = f"{SECRETS}/{json.loads(response.content)['id']}"
        key = {"Authorization": asked.headers["Authorization"]}
        httpx.delete(urljoin(str(asked.url), path), headers=key).raise_for_status()
