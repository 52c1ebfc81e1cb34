"""Times as clients write them: RFC 3339, with an offset."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from orchestrator.api.problems import Fault

MOMENT = re.compile(
    r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
PATTERN = f"^{MOMENT.pattern}$"
_WANTED = "A time as RFC 3339 writes it: 2026-01-05T09:30:00Z"


def read(text: Any) -> datetime | None:
    """The time that a text is; None when it is none."""
    if not isinstance(text, str) or not MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:  # the 30th of February
        return None


def of_query(given: dict[str, str], name: str) -> datetime | Fault | None:
    """A time; the plus sign of its offset may have come as the space it means in a query."""
    if name not in given:
        return None
    found = read(given[name].replace(" ", "+"))
    return Fault(path=f"?{name}", message=f"{_WANTED}.") if found is None else found


def _read(value: Any) -> datetime:
    if (found := read(value)) is None:
        raise PydanticCustomError("moment", _WANTED)
    return found


Moment = Annotated[datetime, BeforeValidator(_read), Field(json_schema_extra={"pattern": PATTERN})]
"""A time in a body."""
