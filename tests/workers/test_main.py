import asyncio
import os
import subprocess
import sys

import pytest

from orchestrator.store import data_keys
from tests import factories
from workers.__main__ import main

SURFACES = """\
[surfaces.chat]
adapter = "simulator"
[surfaces.page]
adapter = "simulator"
slots = 4
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Runs `python -m workers` with these arguments on a file with a heavy surface."""

    def start(*arguments: str) -> int:
        config = tmp_path / "parallax.toml"
        config.write_text(SURFACES)
        monkeypatch.setenv("PARALLAX_CONFIG", str(config))
        monkeypatch.setenv("PARALLAX_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        monkeypatch.setattr(sys, "argv", ["workers", *arguments])
        return main()

    return start


@pytest.mark.parametrize(
    ("slots", "served", "needed"), [("4", "chat,page", 5), ("1", "page,chat", 5), ("3", "page", 4)]
)
def test_a_worker_too_small_for_its_surfaces_says_so(start, capsys, slots, served, needed):
    """Room for a child of each weight it serves, or nothing would ever run of one of them."""
    assert start("--slots", slots, "--surfaces", served) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"--slots: {slots} are too few; there must be {needed} ")


def test_a_worker_on_a_database_without_the_schema_says_what_to_do(empty):
    """At once: waiting would not bring it."""
    ran = subprocess.run(
        [sys.executable, "-m", "workers"],
        env=os.environ | {"PARALLAX_DATABASE_URL": empty},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "The worker cannot run: the database has not the schema of this version;"
        " run `parallax migrate` first"
    )


@pytest.mark.anyio
async def test_a_worker_whose_key_opens_nothing_says_what_to_do(connection, database):
    """Before it does anything: it would tell no webhook that has a secret."""
    await data_keys.sealer(connection, "the key that secrets are sealed with")
    named = {
        "PARALLAX_DATABASE_URL": database,
        "PARALLAX_SECRET_KEY": "another key with a typo " * 2,
    }
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "workers"],
        env=os.environ | named,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith(
        "PARALLAX_SECRET_KEY opens nothing that is sealed in this database: put the key back"
    )
    assert await factories.scalar(connection, "SELECT count(*) FROM node") == 0
