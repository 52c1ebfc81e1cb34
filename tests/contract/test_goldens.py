"""Every document of a read and of steering as it is on the wire, key by key, in `goldens/`.

A change of a shape is a change of a file there, to be seen in review: with
`PARALLAX_TEST_RENEW_GOLDENS=1` they are written anew.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from tests.contract.exchanges import EXCHANGES, Caller, told
from tests.contract.shapes import children, lanes, pages, parents
from tests.contract.shapes import told as tidings

GOLDENS = Path(__file__).parent / "goldens"
DOCUMENTS: Mapping[str, msgspec.Struct] = {
    **parents.SHAPES,
    **children.SHAPES,
    **pages.SHAPES,
    **lanes.SHAPES,
}
STREAM = "events.txt"


def written(document: bytes) -> str:
    """A JSON document for people: its keys in their order, null where it is null."""
    return json.dumps(json.loads(document), indent=2, ensure_ascii=False) if document else ""


def check(name: str, text: str) -> None:
    golden = GOLDENS / name
    if "PARALLAX_TEST_RENEW_GOLDENS" in os.environ:
        golden.write_text(text)
    assert golden.is_file(), f"no golden {name}"
    assert text == golden.read_text()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_as_its_golden(name):
    """Fields, their order, their values, what is null and what is left out."""
    check(f"{name}.json", written(msgspec.json.encode(DOCUMENTS[name])) + "\n")


@pytest.mark.parametrize("name", tidings.BODIES)
def test_what_a_webhook_is_told_is_as_its_golden(name):
    """The body of a delivery, key by key."""
    check(f"{name}.json", written(tidings.BODIES[name]) + "\n")


def test_a_stream_is_as_its_golden():
    """The names, ids and data of events, byte for byte."""
    check(STREAM, pages.stream())


@pytest.mark.anyio
@pytest.mark.parametrize("name", EXCHANGES)
async def test_an_answer_is_as_its_golden(name, client, worker):
    """Status, headers and document of what only the API makes."""
    client.headers["X-Request-ID"] = "golden"
    answer = await EXCHANGES[name](Caller(client, worker))
    check(f"{name}.http", told(EXCHANGES[name], answer, written(answer.content)))


def test_every_golden_is_made():
    """A file nobody makes proves nothing."""
    documents = DOCUMENTS.keys() | tidings.BODIES.keys()
    made = {f"{name}.json" for name in documents} | {f"{name}.http" for name in EXCHANGES}
    assert {golden.name for golden in GOLDENS.iterdir()} == made | {STREAM}
