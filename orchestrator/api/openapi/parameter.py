"""A parameter of the OpenAPI document."""

from collections.abc import Sequence
from typing import Any, NamedTuple

TEXT = {"type": "string"}
NEXT_PAGE = "`nextCursor` of the page before, as it came; any other text is refused."


class Parameter(NamedTuple):
    """Something beside the body: where it stands, what it does, what it may be.

    `name` where it is not the one it has among the components: others may have that name too.
    """

    place: str
    description: str
    schema: dict[str, Any]
    examples: Sequence[str] = ()
    name: str | None = None
