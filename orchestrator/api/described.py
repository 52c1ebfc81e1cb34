"""The description of the API, served by it."""

from functools import cache
from typing import Any

import msgspec
from litestar import Request, get

from orchestrator.api import openapi
from orchestrator.api.replies import Reply


@cache
def _document() -> bytes:
    return msgspec.json.encode(openapi.document())


@get("/schema/openapi.json")
async def schema(request: Request[Any, Any, Any]) -> Reply:  # noqa: ARG001
    """The OpenAPI document."""
    return Reply(200, _document())
