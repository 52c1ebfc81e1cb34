"""What Schemathesis is told besides the document; it loads this module by `SCHEMATHESIS_HOOKS`.

They make valid data valid where JSON Schema has no words for a rule, and leave alone what is meant
to be invalid. No check is switched off.
"""

import json
import unicodedata
from typing import Any

import schemathesis

from tests.schemathesis import noting


def identity(region: Any) -> tuple[str | None, ...]:
    """What two regions share that a person would call the same place."""
    place = {"country": region} if isinstance(region, str) else region
    fields = (place["country"], place.get("city"), place.get("language"))
    return tuple(f and unicodedata.normalize("NFC", f.strip()).casefold() for f in fields)


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: schemathesis.Case) -> schemathesis.Case:
    """Keep apart what no schema can.

    Options are for surfaces that are asked for. Regions may be equal although their JSON is not:
    `"us"` and `{"country": "US"}`. An idempotency key in the body and one in the header are equal.
    """
    if not (case.meta and case.meta.generation.mode.is_positive and isinstance(case.body, dict)):
        return case
    case.body = body = dict(case.body)
    asked = body.get("surfaces") or [(case.path_parameters or {}).get("surface")]
    if body.get("options"):
        body["options"] = {k: v for k, v in body["options"].items() if k in asked}
    if body.get("regions"):
        body["regions"] = list({identity(region): region for region in body["regions"]}.values())
    if body.get("idempotencyKey") is not None:
        case.headers.pop("Idempotency-Key", None)
    return case


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
    """Tell the test."""
    noting.note(case.operation.label, response.status_code, response.content)
