"""Normalisation: whatever an upstream said becomes a capture that can be stored and relied on."""

from collections.abc import Iterable
from typing import Any

import msgspec

from orchestrator.domain import envelope
from orchestrator.domain.envelope import Block, Capture, Evidence, Mention, Source
from workers.captures import MisbehavedError
from workers.errors import SurfaceError

MAX_BYTES = 32 * 1024 * 1024
"""Of the JSON of a capture: four times what an upstream may reply."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_NUL = b"\\u0000"  # as JSON writes it
_UNSTORABLE = {0: REPLACEMENT} | dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT)
_encoder = msgspec.json.Encoder()
_JSON_TO_CAPTURE = msgspec.json.Decoder(Capture)


def absent(
    message: str = "the surface showed nothing for this query",
) -> envelope.Warning:
    """What is said with a capture that has no answer."""
    return envelope.Warning(code="surface_absent", message=message)


def encode(capture: Capture) -> tuple[Capture, bytes]:
    """The capture made sound, and its JSON. A sound one costs one look and one encoding."""
    if not _sound(capture.evidence.sources, capture):
        capture = _renumbered(capture)
    try:
        json = _encoder.encode(capture)
        if _NUL in json:
            capture, json = _cleaned(capture)
    except UnicodeEncodeError:
        capture, json = _cleaned(capture)
    except RecursionError:
        raise SurfaceError(
            "BAD_RESPONSE", "the reply is nested too deeply to be stored", permanent=True
        ) from None
    return capture, json


def verified(found: object) -> tuple[Capture, bytes]:
    """What an adapter found, if it is a capture and one that can be kept: made sound, and its JSON.

    Raises `MisbehavedError` for what is none, `SurfaceError` for one that is too large.
    """
    if not isinstance(found, Capture):
        raise MisbehavedError(f"answered with {type(found).__name__} instead of a capture")
    capture, json = encode(found)
    if len(json) > MAX_BYTES:
        raise SurfaceError(
            "RESPONSE_TOO_LARGE", f"the capture is larger than {MAX_BYTES} bytes", permanent=True
        )
    try:
        _JSON_TO_CAPTURE.decode(json)
    except msgspec.ValidationError as error:
        raise MisbehavedError(f"answered with a capture that is none: {error}") from error
    return capture, json


def decode(json: bytes) -> Capture:
    """The capture of which `encode` made this."""
    return _JSON_TO_CAPTURE.decode(json)


def numbered(sources: Iterable[Source]) -> tuple[Source, ...]:
    """The sources with ids from 1, each URL once: the first of it stays, with all char ranges."""
    return _numbered(sources)[0]


def _numbered(sources: Iterable[Source]) -> tuple[tuple[Source, ...], dict[int, int]]:
    """The sources with new ids, and the new id of each old one."""
    kept: dict[str, Source] = {}
    new_ids: dict[int, int] = {}
    for source in sources:
        if (first := kept.get(source.url)) is None:
            number = len(kept) + 1
            kept[source.url] = (
                source if source.id == number else msgspec.structs.replace(source, id=number)
            )
        else:
            kept[source.url] = _merged(first, source)
        new_ids.setdefault(source.id, kept[source.url].id)
    return tuple(kept.values()), new_ids


def _merged(first: Source, again: Source) -> Source:
    return msgspec.structs.replace(
        first,
        title=first.title or again.title,
        cited=first.cited or again.cited,
        quote=first.quote or again.quote,
        char_ranges=tuple(dict.fromkeys(first.char_ranges + again.char_ranges)),
    )


def _sound(sources: tuple[Source, ...], capture: Capture) -> bool:
    """True when ids are 1, 2, 3 …, no URL comes twice and every reference exists."""
    count = len(sources)
    urls = set()
    for expected, source in enumerate(sources, 1):
        if source.id != expected:
            return False
        urls.add(source.url)
    if len(urls) < count:
        return False
    referrers: tuple[Block | Mention, ...] = capture.answer.blocks + capture.evidence.mentions
    for referrer in referrers:
        for reference in referrer.reference_ids:
            if not 1 <= reference <= count:
                return False
    return True


def _renumbered(capture: Capture) -> Capture:
    sources, new_ids = _numbered(capture.evidence.sources)

    def pointed(referrer: Any) -> Any:
        ids = (new_ids[old] for old in referrer.reference_ids if old in new_ids)
        return msgspec.structs.replace(referrer, reference_ids=tuple(dict.fromkeys(ids)))

    blocks = tuple(pointed(block) for block in capture.answer.blocks)
    mentions = tuple(pointed(mention) for mention in capture.evidence.mentions)
    evidence: Evidence = msgspec.structs.replace(
        capture.evidence, sources=sources, mentions=mentions
    )
    answer = msgspec.structs.replace(capture.answer, blocks=blocks)
    return msgspec.structs.replace(capture, answer=answer, evidence=evidence)


def _cleaned(capture: Capture) -> tuple[Capture, bytes]:
    """NUL and lone surrogates, which no database keeps, replaced one for one, with a warning."""
    count = 0

    def clean(value: Any) -> Any:
        nonlocal count
        match value:
            case str():
                cleaned = value.translate(_UNSTORABLE)
                if cleaned != value:
                    count += sum(map(str.__ne__, cleaned, value))
                return cleaned
            case dict():
                return {clean(key): clean(inner) for key, inner in value.items()}
            case list() | tuple():
                return [clean(inner) for inner in value]
            case msgspec.Struct():
                return {
                    field.encode_name: clean(inner)
                    for field in msgspec.structs.fields(value)
                    if (inner := getattr(value, field.name)) is not msgspec.UNSET
                }
            case _:
                return value

    document = clean(capture)
    if count:
        warning = envelope.Warning(
            code="characters_replaced",
            message=f"{count} characters that cannot be stored were replaced by U+FFFD",
        )
        document["warnings"].append(msgspec.to_builtins(warning))
    json = _encoder.encode(document)
    return _JSON_TO_CAPTURE.decode(json), json
