"""The headers of the responses: what each says, and which come together."""

from collections.abc import Iterable
from typing import Any

COMMON = ("X-Request-ID", "X-Parallax-Version")
RATE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
CONCURRENCY = ("X-Concurrency-Limit", "X-Concurrency-Running", "X-Concurrency-Queued")
COUNT = {"type": "integer", "minimum": 0}


def _header(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": schema}


HEADERS = {
    "X-Request-ID": _header(
        "The caller's id if it is 1 to 128 of A-Z a-z 0-9 . _ -, else one made here.",
        {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    ),
    "X-Parallax-Version": _header("The version of the server.", {"type": "string"}),
    "X-RateLimit-Limit": _header("Requests a minute of this API key.", COUNT),
    "X-RateLimit-Remaining": _header("Requests left now.", COUNT),
    "X-RateLimit-Reset": _header("When all are there again, in epoch seconds.", COUNT),
    "Location": _header(
        "The path of the job.", {"type": "string", "pattern": "^/v1/jobs/job_[0-9a-v]{26}$"}
    ),
    "Retry-After": _header(
        "Whole seconds to wait.", {"type": "integer", "minimum": 1, "maximum": 60}
    ),
    "Preference-Applied": _header(
        "What of `Prefer` was followed, with the wait as it was used.",
        {"type": "string", "pattern": "^(respond-async(, wait=[0-9]+)?|wait=[0-9]+)$"},
    ),
    "Idempotent-Replayed": _header("`true`: the job was there already.", {"const": "true"}),
    "X-Reservation-Remaining": _header(
        "Places left of the reservation that was named, where this API key has it live.", COUNT
    ),
    "X-Concurrency-Limit": _header("The sync limit of this API key.", COUNT),
    "X-Concurrency-Running": _header("Sync calls running.", COUNT),
    "X-Concurrency-Queued": _header("Places taken in the admission queue.", COUNT),
    "X-Latency-Ms": _header("Milliseconds until this response began.", COUNT),
    "X-Concurrency-Current": _header("Sync calls running now.", COUNT),
    "X-Concurrency-Remaining": _header("Sync places free now.", COUNT),
    "ETag": _header(
        "Stands for the statuses and attempts of a parent; beside `wait` as `If-None-Match` it is"
        " what the caller has read.",
        {"type": "string", "pattern": '^W/"[A-Za-z0-9_-]+"$'},
    ),
    "WWW-Authenticate": _header("The scheme to use.", {"const": "Bearer"}),
    "Allow": _header("The methods this path takes.", {"type": "string"}),
}


def described(always: Iterable[str], sometimes: Iterable[str] = ()) -> dict[str, Any]:
    """References to the headers that always come, and the others as they may come."""
    return {
        **{name: {"$ref": f"#/components/headers/{name}"} for name in always},
        **{name: {**HEADERS[name], "required": False} for name in sometimes},
    }
