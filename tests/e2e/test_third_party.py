"""An adapter of another package, installed as a user installs it, in real processes."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.client import ApiError
from tests.e2e import processes
from tests.e2e.processes import Server
from tests.processes import REPOSITORY

pytestmark = pytest.mark.anyio

PACKAGE = REPOSITORY / "tests" / "workers" / "example_adapter"
CONFIGURATION = """
[surfaces.notes]
adapter = "notes"
mentions = ["Ada"]
[surfaces.notes.options]
folder = "{folder}"
"""
NOTES = {"a.md": "Ada likes green tea.", "b.md": "Green tea is picked in spring.", "c.md": "Coffee"}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Where pip has put the example package; it is built from its own files, without a network."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source")
    for file in (*PACKAGE.glob("*.py"), PACKAGE / "pyproject.toml"):
        (source / file.name).write_bytes(file.read_bytes())
    alone = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", "--quiet", *alone]
    subprocess.run([*command, "--target", str(target), str(source)], check=True)
    return target


@pytest.fixture(scope="module")
async def server(site, tmp_path_factory) -> AsyncIterator[Server]:
    """A server with a folder of notes as its one surface."""
    directory = tmp_path_factory.mktemp("notes")
    folder = directory / "notes"
    folder.mkdir()
    for name, text in NOTES.items():
        (folder / name).write_text(text)
    made = processes.configured(directory, CONFIGURATION.format(folder=folder))
    made.environment["PYTHONPATH"] = str(site)
    async with made.up():
        made.secret = await made.key("reader")
        yield made


def test_the_example_is_small():
    """An adapter is at most forty lines."""
    (module,) = PACKAGE.glob("*.py")
    assert len(module.read_text().splitlines()) <= 40


async def test_its_surface_is_captured(server):
    """A job for it ends with what it found, in the shape of every Envelope."""
    async with server.client(server.secret) as client:
        job = await client.submit("tea", surfaces=["notes"], options={"notes": {"most": 1}})
        assert (await client.wait(job.job_id)).job.status == "completed"
        (envelope,) = [one async for one in client.results(job.job_id)]
    assert envelope.answer.text == NOTES["a.md"]
    assert (envelope.provenance.adapter, envelope.provenance.method) == ("notes", "official-api")
    assert [source.url[-5:] for source in envelope.evidence.sources] == ["/a.md"]
    assert [mention.name for mention in envelope.evidence.mentions] == ["Ada"]


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"most": 0}, "options.notes.most", "minimum 1"),
        ({"most": "all"}, "options.notes.most", "integer"),
        ({"least": 1}, "options.notes", "Allowed are: most"),
    ],
)
async def test_its_options_are_checked_where_they_are_sent(server, options, path, said):
    """The API knows the JSON Schema its worker published, and refuses before anything is stored."""
    async with server.client(server.secret) as client:
        with pytest.raises(ApiError) as refused:
            await client.submit("tea", surfaces=["notes"], options={"notes": options})
    assert (refused.value.status, refused.value.code) == (400, "VALIDATION_FAILED")
    (fault,) = refused.value.faults
    assert fault.path == path
    assert said in fault.message


async def test_it_is_checked_as_any_other(server):
    """`surfaces check` asks it, without the server."""
    (found,) = json.loads(await server.command("surfaces", "check", "--query", "tea", "--json"))
    assert (found["surface"], found["adapter"], found["error"]) == ("notes", "notes", None)
    assert found["envelope"]["answer"]["text"] == f"{NOTES['a.md']}\n\n{NOTES['b.md']}"


def test_what_its_operator_says_wrong_has_a_line(site, tmp_path):
    """Its own options are told of by file, line and reason, as those of any adapter."""
    config = tmp_path / "parallax.toml"
    config.write_text(CONFIGURATION.format(folder=tmp_path / "nowhere"))
    told = subprocess.run(
        [*processes.PARALLAX, "surfaces", "check"],
        env=os.environ | {"PYTHONPATH": str(site), "PARALLAX_CONFIG": str(config)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(f"{config}:6: surfaces.notes.options.folder: ")
    assert told.stderr.count("\n") == 1
