"""The errors of the OpenAPI document: which codes a status has, with an example of each."""

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

from admission.budget import OverQuota, Quota
from admission.deciding import Overpriced
from admission.refusals import Refusal, RefusalCode, Taken, Watch
from orchestrator.api import denials, problems
from orchestrator.api.bodies import LARGEST_BYTES
from orchestrator.api.codes import Code
from orchestrator.api.openapi import speaking
from orchestrator.api.openapi.examples import JOB, NOW
from orchestrator.api.openapi.headers import COMMON, CONCURRENCY, RATE, described
from orchestrator.api.openapi.operation import System
from orchestrator.api.openapi.speaking import Spoken
from orchestrator.api.problems import Fault, Problem

_TAKEN = Taken(sync_limit=8, sync_running=8, depth=200)
_REFUSED = {
    Watch.REQUEST_RATE: Refusal(
        code=RefusalCode.RATE_LIMIT_EXCEEDED,
        watch=Watch.REQUEST_RATE,
        limit=600,
        current=600,
        requested=1,
        retry_after_seconds=1,
        taken=_TAKEN,
    ),
    Watch.SYNC_CONCURRENCY: Refusal(
        code=RefusalCode.CONCURRENCY_LIMIT_EXCEEDED,
        watch=Watch.SYNC_CONCURRENCY,
        limit=8,
        current=8,
        requested=1,
        retry_after_seconds=2,
        taken=_TAKEN,
    ),
    Watch.ADMISSION_QUEUE: Refusal(
        code=RefusalCode.QUEUE_CAPACITY_EXCEEDED,
        watch=Watch.ADMISSION_QUEUE,
        limit=200,
        current=200,
        requested=1,
        retry_after_seconds=3,
        taken=_TAKEN,
    ),
}
_OVER = OverQuota(
    Quota("daily", limit=5_000, used=4_980, resets_at=NOW + timedelta(hours=14)), requested=24
)
UNKNOWN = HTTPStatus.UNAUTHORIZED
_UNSUPPORTED = "These cells cannot be captured here: {}. What exists: chatgpt (any country)."


class _Known(NamedTuple):
    problem: Problem
    headers: tuple[str, ...] = ()


def _refused(watch: Watch) -> _Known:
    return _Known(denials.refused(_REFUSED[watch]), ("Retry-After", *CONCURRENCY))


KNOWN: dict[Code, _Known] = {
    Code.VALIDATION_FAILED: _Known(problems.fault("regions[2].country", "Must be text.")),
    Code.UNSUPPORTED_SURFACE: _Known(
        Problem(
            Code.UNSUPPORTED_SURFACE,
            _UNSUPPORTED.format("altavista in US"),
            [Fault(path="surfaces[0]", message="altavista in US")],
        )
    ),
    Code.UNSUPPORTED_REGION: _Known(
        Problem(
            Code.UNSUPPORTED_REGION,
            _UNSUPPORTED.format("chatgpt in AQ"),
            [Fault(path="regions[0].country", message="chatgpt in AQ")],
        )
    ),
    Code.MISSING_API_KEY: _Known(problems.missing_key(), ("WWW-Authenticate",)),
    Code.INVALID_API_KEY_FORMAT: _Known(problems.malformed_key(), ("WWW-Authenticate",)),
    Code.INVALID_OR_EXPIRED_API_KEY: _Known(problems.unknown_key(), ("WWW-Authenticate",)),
    Code.INSUFFICIENT_CREDITS: _Known(denials.overpriced(Overpriced(estimated=20, most=10))),
    Code.QUOTA_EXCEEDED: _Known(denials.over_quota(_OVER)),
    Code.JOB_NOT_FOUND: _Known(problems.job_not_found()),
    Code.NOT_FOUND: _Known(problems.not_found()),
    Code.METHOD_NOT_ALLOWED: _Known(problems.method_not_allowed("GET, OPTIONS"), ("Allow",)),
    Code.PAYLOAD_TOO_LARGE: _Known(problems.too_large(LARGEST_BYTES)),
    Code.UNSUPPORTED_MEDIA_TYPE: _Known(problems.not_json()),
    Code.IDEMPOTENCY_CONFLICT: _Known(denials.conflict(JOB)),
    Code.NOT_CANCELABLE: _Known(denials.not_cancelable()),
    Code.NOT_RETRYABLE: _Known(denials.not_retryable(ended=True)),
    Code.RATE_LIMIT_EXCEEDED: _refused(Watch.REQUEST_RATE),
    Code.CONCURRENCY_LIMIT_EXCEEDED: _refused(Watch.SYNC_CONCURRENCY),
    Code.QUEUE_CAPACITY_EXCEEDED: _refused(Watch.ADMISSION_QUEUE),
    Code.INTERNAL_SERVER_ERROR: _Known(problems.surprise()),
    Code.SERVICE_UNAVAILABLE: _Known(problems.database_away(), ("Retry-After",)),
    Code.SURFACE_UNAVAILABLE: _Known(denials.surface_unavailable(3), ("Retry-After",)),
    Code.SURFACE_TIMEOUT: _Known(denials.timed_out(JOB), ("Location",)),
}


def responses(*codes: Code, keyed: bool, system: System = "native") -> dict[str, Any]:
    """The response objects of these codes, grouped by status; `keyed` ones tell the rate too."""
    spoken = speaking.of(system)
    by_status: dict[int, list[Code]] = {}
    for code in codes:
        by_status.setdefault(spoken.status(code), []).append(code)
    return {
        str(status): _response(
            by_status[status],
            (*COMMON, *(RATE if keyed and status != UNKNOWN else ()), *spoken.headers),
            spoken,
        )
        for status in sorted(by_status)
    }


def examples() -> dict[str, Any]:
    """An error document of each code, as each system says it."""
    return {
        spoken.example_name(code): spoken.example(KNOWN[code].problem)
        for spoken in speaking.ALL
        for code in Code
    }


def _response(codes: Sequence[Code], common: Sequence[str], spoken: Spoken) -> dict[str, Any]:
    own = dict.fromkeys(name for code in codes for name in KNOWN[code].headers)
    return {
        "description": " · ".join(dict.fromkeys(map(spoken.word, codes))),
        "headers": described((*common, *own)),
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{spoken.schema}"},
                "examples": {
                    name: {"$ref": f"#/components/examples/{name}"}
                    for name in map(spoken.example_name, codes)
                },
            }
        },
    }
