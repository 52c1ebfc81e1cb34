"""The keys of `PARALLAX_SECRET_KEY`: what is sealed is sealed with the first, and opened by any.

Where PostgreSQL is embedded and nobody has set one, a key is kept beside its data, for their owner.
"""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import ConfigError

SHORTEST = 32
"""Characters of a key: `openssl rand -hex 32` makes 64."""
FILE = "secret.key"


def split(keys: str) -> list[str]:
    """The keys, separated by commas; `ValueError` says what is wrong with them."""
    named = [key.strip() for key in keys.split(",") if key.strip()]
    if not named or any(len(key) < SHORTEST for key in named):
        raise ValueError(
            f"at least {SHORTEST} characters (openssl rand -hex 32); several, newest first, are"
            " separated by commas"
        )
    return named


def beside(given: str | None, directory: Path) -> str:
    """The keys for the data kept in this directory: those that were set, then those of before.

    `ConfigError` as `kept`.
    """
    if given is None:
        return kept(directory)
    return f"{given},{kept(directory)}" if (directory / FILE).exists() else given


def kept(directory: Path) -> str:
    """The keys kept in this directory, made when there are none; all who ask get the same.

    `ConfigError` when the file cannot be used: it is never made anew, since what was sealed with
    its key is lost without it.
    """
    file = directory / FILE
    try:
        if not file.exists():
            _make(file)
        keys = file.read_text().strip()
        split(keys)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no key is in it"
        raise ConfigError(
            f"{file} cannot be used ({why}): put the key back that was there, or set"
            " PARALLAX_SECRET_KEY."
        ) from None
    return keys


def _make(file: Path) -> None:
    """Have the file appear with its key in it, unless another process is quicker."""
    descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w") as fresh:
            fresh.write(secrets.token_hex(SHORTEST) + "\n")
            fresh.flush()
            os.fsync(fresh.fileno())
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        Path(name).unlink()
    _keep(file.parent)


def _keep(directory: Path) -> None:
    """What is sealed may not outlive, in a power cut, the name of what opens it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
