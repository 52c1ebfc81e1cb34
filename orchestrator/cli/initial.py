"""`init`: a `parallax.toml` to begin with."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.output import note
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.cli.first_file import FirstFile


def init(
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented parallax.toml for the providers whose keys the environment has.

    It goes where PARALLAX_CONFIG says, else into this directory, and holds no key itself.
    """
    from orchestrator import configuration, settings
    from orchestrator.cli import first_file

    path = settings.load().config or configuration.DEFAULT_FILE
    made = first_file.written(os.environ)
    _write(path, made.text, replacing=force)
    for line in _told(path, made):
        note(line)


def _write(path: Path, text: str, *, replacing: bool) -> None:
    try:
        with path.open("w" if replacing else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; `parallax init --force` replaces it") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None


def _told(path: Path, made: "FirstFile") -> list[str]:
    off = [f"  {name}: {' or '.join(wanted)}" for name, wanted in made.wanting.items()]
    return [
        f"{path} is written. Switched on: {', '.join(made.surfaces)}.",
        *(["Switched off, for want of a key in the environment:", *off] if off else []),
        "Next: `parallax surfaces check` asks each once, `parallax up` serves them.",
    ]
