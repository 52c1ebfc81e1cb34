"""Tells what differs between what is written and what was said, typed and in order.

A placeholder, such as `<time>`, stands for a value that differs from run to run; it never accepts
another type. Named (`<job id as job>`) it also gives the value to a variable.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

DATA = {"metadata", "bySurface", "byRegion", "payload", "optionsSchema"}
"""Fields that hold maps whose keys are data: those have no order."""
MORE = "<more like it>"
"""The last element of a list that may go on with any number like the one before."""


class Kind(NamedTuple):
    """The types a value may have, and how it is written."""

    types: tuple[type, ...]
    pattern: str

    def takes(self, value: Any) -> bool:
        """Whether a JSON value is of this kind: a boolean is no number."""
        if type(value) not in self.types:
            return False
        return isinstance(value, list | dict) or bool(re.fullmatch(self.pattern, str(value)))


_DAY = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_MOMENT = _DAY + r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_JOB = "job_[0-9a-v]{26}"
KINDS = {
    "integer": Kind((int,), r"\d+"),
    "number": Kind((int, float), r"\d+(?:\.\d+)?(?:e-?\d+)?"),
    "seconds": Kind((int,), "[1-9]|[1-5][0-9]|60"),
    "text": Kind((str,), "(?s:.+)"),
    "list": Kind((list,), ""),
    "object": Kind((dict,), ""),
    "time": Kind((str,), _MOMENT + r"\.\d{3}Z"),
    "seconds-time": Kind((str,), _MOMENT + "Z"),
    "uuid": Kind((str,), "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    "boolean": Kind((bool,), "True|False"),
    "country": Kind((str,), "[A-Z]{2}"),
    "job id": Kind((str,), _JOB),
    "child id": Kind((str,), _JOB + r"\.[a-z][a-z0-9_]{0,39}\.[a-z0-9_-]+"),
    "task id": Kind((str,), "task_[0-9a-v]{26}"),
    "reservation id": Kind((str,), "res_[0-9a-v]{26}"),
    "event id": Kind((str,), "evt_[0-9a-v]{36}"),
    "delivery id": Kind((str,), "dlv_[0-9a-v]{36}"),
    "secret id": Kind((str,), "whs_[0-9a-v]{26}"),
    "secret": Kind((str,), "whsec_[A-Za-z0-9+/]{43}="),
    "hex": Kind((str,), "[0-9a-f]{64}"),
    "signature": Kind((str,), "[A-Za-z0-9+/]{43}="),
    "tag": Kind((str,), r"[A-Za-z0-9_-]+"),
}
_PLACEHOLDER = re.compile(r"<([a-z][a-z -]*?)( or null)?(?: as ([a-z_]+))?>")
_VARIABLE = re.compile(r"\{([a-z_]+)\}")


def fill(text: str, known: dict[str, str]) -> str:
    """The text with its variables; `KeyError` for one that nobody has given."""
    return _VARIABLE.sub(lambda found: known[found[1]], text)


def load(text: str) -> Any:
    """JSON as it stands there; a key that stands twice in an object is a `ValueError`."""
    return json.loads(text, object_pairs_hook=once)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in its order."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError(f"a key stands twice: {[key for key, _ in pairs]}")
    return made


def differences(
    written: Any, said: Any, known: dict[str, str], at: str = "", *, data: bool = False
) -> Iterator[str]:
    """Each place where they differ, with both; placeholders with a name are noted in `known`."""
    match written:
        case dict() if isinstance(said, dict):
            yield from _of_objects(written, said, known, at, data=data)
        case list() if isinstance(said, list):
            yield from _of_lists(written, said, known, at)
        case str() if "<" in written or "{" in written:
            yield from _of_texts(fill(written, known), said, known, at)
        case _ if type(written) is not type(said) or written != said:
            yield f"{at}: {json.dumps(said)} instead of {json.dumps(written)}"


def _of_objects(
    written: dict[str, Any], said: dict[str, Any], known: dict[str, str], at: str, *, data: bool
) -> Iterator[str]:
    lacking = [key for key in written if key not in said]
    extra = [key for key in said if key not in written]
    if lacking or extra:
        yield f"{at}: lacks {lacking}, has {extra} besides"
    elif not data and list(written) != list(said):
        yield f"{at}: the order {list(said)} instead of {list(written)}"
    for key, value in written.items():
        if key in said:
            place = f"{at}.{key}"
            yield from differences(value, said[key], known, place, data=data or key in DATA)


def _of_lists(written: list[Any], said: list[Any], known: dict[str, str], at: str) -> Iterator[str]:
    if written and written[-1] == MORE:
        *written, last = written[:-1]
        written = [*written, *[last] * max(1, len(said) - len(written))]
    if len(written) != len(said):
        yield f"{at}: {len(said)} elements instead of {len(written)}: {json.dumps(said)}"
    for place, (one, other) in enumerate(zip(written, said, strict=False)):
        yield from differences(one, other, known, f"{at}[{place}]")


def _of_texts(written: str, said: Any, known: dict[str, str], at: str) -> Iterator[str]:
    if whole := _PLACEHOLDER.fullmatch(written):
        name, nullable, variable = whole.groups()
        if not (KINDS[name].takes(said) or (nullable and said is None)):
            yield f"{at}: {json.dumps(said)} instead of {written}"
        elif variable:
            known[variable] = str(said)
    elif not isinstance(said, str):
        yield f"{at}: {json.dumps(said)} instead of {json.dumps(written)}"
    else:
        yield from of_line(written, said, known, at)


def of_line(written: str, said: str, known: dict[str, str], at: str) -> Iterator[str]:
    """What differs in text, such as a header's, of which each placeholder may be a part."""
    found = re.fullmatch(_pattern(fill(written, known)), said)
    if found is None:
        yield f"{at}: {json.dumps(said)} instead of {json.dumps(written)}"
    else:
        known |= found.groupdict()


def _pattern(written: str) -> str:
    """The pattern of a text with placeholders in it."""
    made, end = "", 0
    for part in _PLACEHOLDER.finditer(written):
        name, _, variable = part.groups()
        one = f"(?P<{variable}>{KINDS[name].pattern})" if variable else f"(?:{KINDS[name].pattern})"
        made += re.escape(written[end : part.start()]) + one
        end = part.end()
    return made + re.escape(written[end:])
