"""The options that say what a key may take."""

from typing import Annotated

import typer

MOST_CREDITS = 2**53 - 1
MOST_CELLS = 2**31 - 1
NONE, UNLIMITED = "none", "unlimited"
Chosen = dict[str, int | float | bool | None]
"""What was chosen of a key's limits, by their names in `Limits`, and its `credits`."""

Rate = Annotated[
    int | None, typer.Option(min=1, metavar="PER_MINUTE", help="Requests a minute; new: 600.")
]
SyncLimit = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Callers waiting at once; new: 8.")
]
QueueCapacity = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Jobs in the queue; new: 1000.")
]
Concurrency = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Cells running at once; new: 50.")
]
Weight = Annotated[
    float | None, typer.Option(min=0.001, metavar="W", help="Share of the workers; new: 1.")
]
Credits = Annotated[
    str | None,
    typer.Option(
        metavar="N|unlimited",
        help="Credits free from now on, beside those that jobs hold; new: unlimited.",
    ),
]
QuotaDaily = Annotated[
    str | None, typer.Option(metavar="N|none", help="Cells a day of UTC; new: none.")
]
QuotaMonthly = Annotated[
    str | None, typer.Option(metavar="N|none", help="Cells a month of UTC; new: none.")
]
Coalesce = Annotated[
    bool | None,
    typer.Option(
        "--coalesce/--no-coalesce",
        help="Whether its cells share calls with identical ones, where a surface lets them.",
    ),
]


def chosen(
    *,
    credits: str | None,  # noqa: A002 - the option's name
    quota_daily: str | None,
    quota_monthly: str | None,
    **numbers: float | None,
) -> Chosen:
    """What was given on the command line; `BadParameter` for what is no number."""
    made: Chosen = {name: number for name, number in numbers.items() if number is not None}
    for name, given, word, most in (
        ("credits", credits, UNLIMITED, MOST_CREDITS),
        ("quota_daily", quota_daily, NONE, MOST_CELLS),
        ("quota_monthly", quota_monthly, NONE, MOST_CELLS),
    ):
        if given is not None:
            made[name] = _number(name, given, word, most)
    return made


def _number(name: str, given: str, word: str, most: int) -> int | None:
    if given == word:
        return None
    number = int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else -1  # noqa: PLR2004 - longer than any
    if not 0 <= number <= most:
        told = f"a whole number from 0 to {most}, or {word}"
        raise typer.BadParameter(told, param_hint=f"--{name.replace('_', '-')}")
    return number
