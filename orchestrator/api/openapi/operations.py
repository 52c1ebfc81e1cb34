"""What can be asked of the server, operation by operation."""

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.api.codes import Code

ALWAYS = (Code.INTERNAL_SERVER_ERROR, Code.SERVICE_UNAVAILABLE)
KEYED = (
    Code.MISSING_API_KEY,
    Code.INVALID_API_KEY_FORMAT,
    Code.INVALID_OR_EXPIRED_API_KEY,
    *ALWAYS,
)
JSON = "application/json"


class Operation(NamedTuple):
    """One method of one path; `answers` are the documents of its success, by media type."""

    name: str
    method: str
    path: str
    summary: str
    tag: str
    answers: dict[str, tuple[str, ...]]
    errors: Sequence[Code]
    status: int = 200
    parameters: Sequence[str] = ()
    headers: Sequence[str] = ()
    body: str | None = None
    keyed: bool = True


OPERATIONS = (
    Operation(
        "submit",
        "post",
        "/v1/search",
        "Submit a query to surfaces x regions",
        "Jobs",
        {JSON: ("Accepted",)},
        (
            Code.VALIDATION_FAILED,
            Code.UNSUPPORTED_SURFACE,
            Code.UNSUPPORTED_REGION,
            *KEYED,
            Code.PAYLOAD_TOO_LARGE,
            Code.UNSUPPORTED_MEDIA_TYPE,
            Code.QUEUE_CAPACITY_EXCEEDED,
        ),
        status=202,
        parameters=("mode",),
        headers=("Location",),
        body="SubmitRequest",
    ),
    Operation(
        "readJob",
        "get",
        "/v1/jobs/{job}",
        "Read a parent with its children, or the Envelope of one child",
        "Jobs",
        {JSON: ("JobRead", "Envelope", "FlatResult")},
        (Code.VALIDATION_FAILED, Code.JOB_NOT_FOUND, *KEYED),
        parameters=("job", "view"),
    ),
    Operation(
        "readResults",
        "get",
        "/v1/jobs/{job}/results",
        "Read what a parent found, page by page or streamed",
        "Jobs",
        {JSON: ("Results", "FlatResults"), "application/x-ndjson": ("Envelope", "FlatResult")},
        (Code.VALIDATION_FAILED, Code.JOB_NOT_FOUND, *KEYED),
        parameters=("job", "limit", "cursor", "view"),
    ),
    Operation(
        "readStatus",
        "get",
        "/v1/async/status",
        "The snapshot: headroom, and everything in flight",
        "Headroom",
        {JSON: ("Snapshot",)},
        KEYED,
    ),
    Operation(
        "readSurfaces",
        "get",
        "/v1/surfaces",
        "What can be asked, from where, and who serves it",
        "Headroom",
        {JSON: ("Surfaces",)},
        KEYED,
    ),
    Operation(
        "readHealth",
        "get",
        "/v1/health",
        "Whether the server and its database are well",
        "Server",
        {JSON: ("Health",)},
        ALWAYS,
        parameters=("ready",),
        keyed=False,
    ),
    Operation(
        "readSchema",
        "get",
        "/schema/openapi.json",
        "This document",
        "Server",
        {JSON: ()},
        (Code.INTERNAL_SERVER_ERROR,),
        keyed=False,
    ),
)
PARAMETERS = {
    "job": ("path", "The id of a parent or of a child.", {"type": "string"}),
    "mode": ("query", "How to be answered.", {"const": "async", "default": "async"}),
    "view": ("query", "`flat`: surface, region, status and the text alone.", {"const": "flat"}),
    "limit": (
        "query",
        "How many results; 100 when left out.",
        {"type": "integer", "minimum": 1, "maximum": 100},
    ),
    "cursor": ("query", "`nextCursor` of the page before.", {"type": "string"}),
    "ready": ("query", "`1`: only with a live worker.", {"const": "1"}),
}
