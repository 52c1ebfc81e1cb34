"""`parallax lanes`, straight in the database, and what the API then says of the lane."""

import asyncio
import json

import httpx
import psycopg
import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestrator.cli import headroom
from orchestrator.cli.app import app as commands
from orchestrator.client import Client
from orchestrator.store import lanes, surfaces
from orchestrator.store.lanes import Place
from tests import factories
from tests.api.conftest import CHATGPT, SITE


@pytest.fixture
def parallax(database):
    """Runs a command on a database with two surfaces; the JSON it prints, or all it says."""
    asyncio.run(furnish(database))

    def run(*arguments: str, code: int = 0):
        told = CliRunner().invoke(
            commands,
            ["lanes", *arguments],
            env={"PARALLAX_DATABASE_URL": database, "COLUMNS": "200"},
        )
        assert told.exit_code == code, told.output
        return json.loads(told.stdout) if "--json" in arguments else told.stdout + told.stderr

    return run


async def furnish(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await surfaces.register(connection, [CHATGPT, SITE])
        await factories.lane(connection, rate="50/s")


def test_lanes_are_listed_and_steered(parallax):
    """Each order prints the lane as it is then, as a row or as JSON; the list has them all."""
    assert [lane["country"] for lane in parallax("--json")] == ["US"]
    assert parallax("pause", "site", "gb", "--json")["paused"] is True
    assert parallax("limit", "chatgpt", "US", "3", "--json")["allowed"] == 3
    lanes = parallax("--json")
    assert [(lane["surface"], lane["country"]) for lane in lanes] == [
        ("chatgpt", "US"),
        ("site", "GB"),
    ]
    assert [(lane["limit"], lane["rate"], lane["paused"]) for lane in lanes] == [
        (3, "50/s", False),
        (None, None, True),
    ]
    assert "0 of 3" in parallax()
    assert "limited to 3 at once" in parallax()
    assert "paused" in parallax()
    assert parallax("limit", "chatgpt", "US", "none", "--json")["limit"] is None
    resumed = parallax("resume", "site", "GB")
    assert "ok" in resumed
    assert "paused" not in resumed


def test_an_order_is_answered_in_json_wherever_that_is_asked_for(parallax):
    """`--json` before the order holds for it as after it."""
    assert parallax("--json", "pause", "chatgpt", "US")["paused"] is True
    assert parallax("--json", "limit", "chatgpt", "US", "3")["allowed"] == 3
    assert parallax("--json", "resume", "chatgpt", "US", "--json")["paused"] is False
    assert "chatgpt" in parallax("pause", "chatgpt", "US")


def test_a_lane_there_is_not_is_one_line(parallax):
    """Exit code 1; the line says what there is, and nothing is made."""
    told = parallax("pause", "nosuch", "US", code=1)
    assert told.strip() == "parallax: There is no such surface; those there are: chatgpt, site."
    told = parallax("limit", "site", "FR", "3", code=1)
    assert told.strip() == "parallax: site has no lane there; it looks from: GB, US."
    assert len(parallax("--json")) == 1


@pytest.mark.anyio
async def test_the_status_of_a_key_tells_of_its_lanes_alone(app, registered, issue, connection):
    """What is held and why; of the lanes those in which the key has something in flight."""
    transport = httpx.ASGITransport(app)
    async with Client(
        url="http://parallax.test", key=(await issue()).secret, transport=transport
    ) as client:
        snapshot = await client.status()
        assert await headroom.surfaces_of(client, snapshot) == []
        for country in ("US", "GB", "FR"):
            await factories.lane(connection, country)
            await lanes.pause(connection, Place("chatgpt", country), paused=True)
        await client.submit("shoes", surfaces=["chatgpt"], regions=["US", "GB"])
        snapshot = await client.status()
        found = await headroom.surfaces_of(client, snapshot)
    assert [lane.country for surface in found for lane in surface.lanes] == ["GB", "US"]
    with (console := Console(width=200)).capture() as capture:
        console.print(*headroom.waits(snapshot, found))
    assert capture.get().count("paused") == 4
    assert capture.get().count("no live worker") == 2
    assert "FR" not in capture.get()
