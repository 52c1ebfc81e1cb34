"""`keys`: accounts, their limits and their secrets, straight in the database."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.cli import key_options, moments
from orchestrator.cli.edge import run
from orchestrator.cli.key_options import (
    Coalesce,
    Concurrency,
    Credits,
    QueueCapacity,
    QuotaDaily,
    QuotaMonthly,
    Rate,
    SyncLimit,
    Weight,
)
from orchestrator.cli.options import AsJson, Expires
from orchestrator.cli.output import console, document, note
from orchestrator.durations import seconds

if TYPE_CHECKING:
    from admission.keys import Issued

LONGEST_NAME = 64


def _name(given: str) -> str:
    if not given.isprintable() or given != given.strip() or not 0 < len(given) <= LONGEST_NAME:
        raise typer.BadParameter(f"1 to {LONGEST_NAME} printable characters, no space around them")
    return given


Name = Annotated[str, typer.Argument(metavar="NAME", callback=_name, help="The key's name.")]


def create(
    name: Name,
    *,
    rate: Rate = None,
    sync_limit: SyncLimit = None,
    queue_capacity: QueueCapacity = None,
    concurrency: Concurrency = None,
    weight: Weight = None,
    credits: Credits = None,  # noqa: A002 - the option's name
    quota_daily: QuotaDaily = None,
    quota_monthly: QuotaMonthly = None,
    coalesce: Coalesce = None,
    role: Annotated[Literal["client", "operator"], typer.Option(help="What it may do.")] = "client",
    expires: Expires = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its secret, which is shown this once."""
    from orchestrator.cli import keyring

    chosen = key_options.chosen(
        requests_per_minute=rate,
        sync_limit=sync_limit,
        queue_capacity=queue_capacity,
        concurrency=concurrency,
        weight=weight,
        credits=credits,
        quota_daily=quota_daily,
        quota_monthly=quota_monthly,
        coalesce=coalesce,
    )
    work = keyring.create(name, chosen, role=role, expires_at=_ends(expires))
    _tell(run(work), as_json=as_json)


def list_(*, as_json: AsJson = False) -> None:
    """List the keys and their limits."""
    from orchestrator.cli import keyring
    from orchestrator.cli.accounts import account, accounts

    found = run(keyring.all_keys())
    if as_json:
        document([account(key) for key in found])
    else:
        console().print(accounts(found))


def rotate(
    name: Name,
    *,
    overlap: Annotated[
        str, typer.Option(metavar="SPAN", help="How long the secrets so far stay good; 0s: not.")
    ] = "1h",
    expires: Expires = None,
    as_json: AsJson = False,
) -> None:
    """Make a new secret for a key; those it has stay good for a while."""
    from orchestrator.cli import keyring

    try:
        overlap_seconds = seconds(overlap)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from None
    work = keyring.rotate(name, overlap_seconds=overlap_seconds, expires_at=_ends(expires))
    _tell(run(work), as_json=as_json)


def revoke(name: Name, *, as_json: AsJson = False) -> None:
    """Revoke every secret of a key at once; its jobs stay."""
    from orchestrator.cli import keyring

    revoked = run(keyring.revoke(name))
    if as_json:
        document({"name": name, "revoked": revoked})
    else:
        typer.echo(f"Revoked {revoked} secret{'s' * (revoked != 1)} of {name}.")


def limits(
    name: Name,
    *,
    rate: Rate = None,
    sync_limit: SyncLimit = None,
    queue_capacity: QueueCapacity = None,
    concurrency: Concurrency = None,
    weight: Weight = None,
    credits: Credits = None,  # noqa: A002 - the option's name
    quota_daily: QuotaDaily = None,
    quota_monthly: QuotaMonthly = None,
    coalesce: Coalesce = None,
    as_json: AsJson = False,
) -> None:
    """Show a key's limits and credits, or change those given."""
    from orchestrator.cli import keyring
    from orchestrator.cli.accounts import account, accounts

    chosen = key_options.chosen(
        requests_per_minute=rate,
        sync_limit=sync_limit,
        queue_capacity=queue_capacity,
        concurrency=concurrency,
        weight=weight,
        credits=credits,
        quota_daily=quota_daily,
        quota_monthly=quota_monthly,
        coalesce=coalesce,
    )
    key = run(keyring.limit(name, chosen))
    if as_json:
        document(account(key))
    else:
        console().print(accounts([key]))


def build() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="API keys, their limits and their secrets.")
    group.command("create")(create)
    group.command("list")(list_)
    group.command("rotate")(rotate)
    group.command("revoke")(revoke)
    group.command("limits")(limits)
    return group


def _ends(expires: str | None) -> datetime | None:
    try:
        return moments.moment(expires, now=datetime.now(UTC)) if expires else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None


def _tell(made: "Issued", *, as_json: bool) -> None:
    from orchestrator.cli.accounts import issued

    if as_json:
        document(issued(made))
    else:
        note(f"Key {made.key.name}; its secret is shown this once:")
        typer.echo(made.secret)
