"""Bytes to text: byte order mark, then header, then `<meta>`, then UTF-8, then windows-1252."""

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_IN_HEADER = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_IN_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_META_WITHIN = 4096  # bytes from the beginning in which a declaration is looked for
_FALLBACK = "cp1252"  # browsers read it so; it has a character for nearly every byte
_WIDENED = {"iso8859-1": _FALLBACK, "ascii": _FALLBACK, "gb2312": "gb18030", "gbk": "gb18030"}
_NOT_A_CHARSET = frozenset(
    {"utf-7", "unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined"}
)


def decode(body: bytes, content_type: str, *, html: bool = False) -> str:
    """The text of a body. Nothing fails: what the charset has no character for becomes U+FFFD."""
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")
    declared = _IN_HEADER.search(content_type)
    name = declared[1] if declared else _meta(body) if html else None
    if name and (codec := _codec(name)):
        return body.decode(codec, "replace")
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body.decode(_FALLBACK, "replace")


def _meta(body: bytes) -> str | None:
    found = _IN_META.search(body, 0, _META_WITHIN)
    name = found[1].decode("ascii") if found else None
    return "utf-8" if name and name.lower().startswith("utf-16") else name  # or it were not legible


def _codec(name: str) -> str | None:
    """Python's codec for the charset, as browsers widen it; None for no charset."""
    try:
        codec = codecs.lookup(name).name
        b"a".decode(codec, "replace")  # some codecs are no charsets: bytes to bytes
    except (LookupError, ValueError):
        return None
    return None if codec in _NOT_A_CHARSET else _WIDENED.get(codec, codec)
