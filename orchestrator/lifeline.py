"""A process's line to its supervisor: a word when it is there, and one a second while it lives.

It is a pipe the process has inherited, and it speaks from its event loop. A process that shares its
socket with others cannot be asked over that; one that dies before it is there closes the pipe
without a word; and one that is stopped, or whose interpreter is held by code that never returns,
falls silent.
"""

import asyncio
import os
import select
from contextlib import suppress

DESCRIPTOR = "PARALLAX_LIFELINE_FD"
"""The variable by which a process finds the pipe it inherited (set by the supervisor)."""
SPEAK_SECONDS = 1.0
_WORD = b"."
_MUCH = 64 * 1024


def speak() -> None:
    """This process is there, and lives; without a supervisor nobody hears it. Never waits."""
    if (descriptor := os.environ.get(DESCRIPTOR)) is not None:
        with suppress(OSError):  # nobody has listened for hours, or will any more
            os.write(int(descriptor), _WORD)


async def keep() -> None:
    """Speak, until cancelled."""
    while True:
        speak()
        await asyncio.sleep(SPEAK_SECONDS)


def line() -> tuple[int, int]:
    """A new line: the end to listen at and the end to be inherited."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    return ours, theirs


def heard(line: int) -> bool:
    """Whether the process at the other end has spoken since this was asked last; never waits."""
    readable, _, _ = select.select([line], [], [], 0)
    return bool(readable) and bool(os.read(line, _MUCH))
