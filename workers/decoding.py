"""Content codings undone piece by piece: a bomb is noticed before it goes off."""

import zlib
from collections.abc import Iterator

from workers.errors import SurfaceError

ACCEPT_ENCODING = "gzip, deflate"
_PIECE = 64 * 1024
_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_RAW_DEFLATE = -zlib.MAX_WBITS


class Identity:
    """No coding: what comes in goes out."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk itself."""
        yield chunk

    def end(self) -> None:
        """Always whole."""


class Inflate:
    """gzip, also in several members, and deflate with or without its zlib header."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(_ZLIB_OR_GZIP)
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk decodes to, in pieces of at most 64 KiB."""
        while chunk:
            piece = self._decompress(chunk)
            chunk = self._engine.unconsumed_tail
            if piece:
                yield piece
            if self._engine.eof:
                chunk = self._engine.unused_data.lstrip(b"\0")  # members may be padded
                if chunk:
                    self._engine = zlib.decompressobj(_ZLIB_OR_GZIP)

    def end(self) -> None:
        """Raises when the body stopped inside the coding."""
        if self._begun and not self._engine.eof:
            raise SurfaceError("BAD_RESPONSE", "the compressed reply is cut short", permanent=False)

    def _decompress(self, chunk: bytes) -> bytes:
        try:
            piece = self._engine.decompress(chunk, _PIECE)
        except zlib.error:
            if self._begun:
                raise _broken() from None
            self._engine = zlib.decompressobj(_RAW_DEFLATE)
            try:
                piece = self._engine.decompress(chunk, _PIECE)
            except zlib.error:
                raise _broken() from None
        self._begun = True
        return piece


def decoder(coding: str) -> Identity | Inflate:
    """The decoder for a `Content-Encoding`; raises `SurfaceError` for one we did not ask for."""
    match coding.strip().lower():
        case "" | "identity":
            return Identity()
        case "gzip" | "x-gzip" | "deflate":
            return Inflate()
        case _:
            raise SurfaceError(
                "BAD_RESPONSE",
                f"the reply is coded in a way nobody asked for; {ACCEPT_ENCODING} are known",
                permanent=True,
            )


def _broken() -> SurfaceError:
    return SurfaceError("BAD_RESPONSE", "the compressed reply is damaged", permanent=False)
