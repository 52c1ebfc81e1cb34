"""The headers of the OpenAPI document."""

from typing import Any

COMMON = ("X-Request-ID", "X-Parallax-Version")
RATE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def _header(description: str, kind: str = "integer") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


HEADERS = {
    "X-Request-ID": _header(
        "The caller's id if it is 1 to 128 of A-Z a-z 0-9 . _ -, else one made here.",
        "string",
    ),
    "X-Parallax-Version": _header("The version of the server.", "string"),
    "X-RateLimit-Limit": _header("Requests a minute of this API key."),
    "X-RateLimit-Remaining": _header("Requests left now."),
    "X-RateLimit-Reset": _header("When all are there again, in epoch seconds."),
    "Location": _header("The path of the job.", "string"),
    "Retry-After": _header("Whole seconds to wait, 1 to 60."),
    "X-Concurrency-Limit": _header("The sync limit of this API key."),
    "X-Concurrency-Running": _header("Sync calls running."),
    "X-Concurrency-Queued": _header("Places taken in the admission queue."),
    "WWW-Authenticate": _header("`Bearer`.", "string"),
    "Allow": _header("The methods this path takes.", "string"),
}


def references(*names: str) -> dict[str, Any]:
    """References to these headers."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
