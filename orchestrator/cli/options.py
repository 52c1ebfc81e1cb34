"""Options that several commands share."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A parent's id, as `submit` prints it.")]
Expires = Annotated[
    str | None,
    typer.Option(
        metavar="T", help="When the secret ends: `30d`, `12h`, or a time such as 2030-01-31T00:00Z."
    ),
]
