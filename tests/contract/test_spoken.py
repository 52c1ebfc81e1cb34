"""The exchanges of `spoken/`, played against a live server, and that they show everything."""

from collections import Counter

import pytest

from orchestrator.store import migrations
from tests.contract.spoken import comparing, covering, parsing, speaking, stage
from tests.contract.spoken.parsing import HERE, SYSTEMS
from tests.contract.spoken.scenes import SCENES

EXCHANGES = {exchange.name: exchange for exchange in parsing.every()}
CREATED = {"id": "<job id>", "at": "<time>", "count": "<integer>", "error": None}
SAID = {
    "id": "job_06cv782s01o01000091ao4g008",
    "at": "2026-01-05T09:30:00.000Z",
    "count": 3,
    "error": None,
}


@pytest.fixture(scope="module")
def spoken(new_database, tmp_path_factory):
    """One server for all of them."""
    database = new_database()
    migrations.upgrade(database)
    with stage.standing(database, tmp_path_factory.mktemp("spoken")) as standing:
        yield standing


@pytest.mark.anyio
@pytest.mark.parametrize("name", EXCHANGES)
async def test_an_exchange_is_as_it_is_written(name, spoken):
    """Status, headers and body of each reply, typed and in order."""
    await speaking.play(EXCHANGES[name], spoken)


def test_every_operation_is_shown_with_every_success():
    """Each status of success the OpenAPI document has for an operation is a reply somewhere."""
    every = EXCHANGES.values()
    found = {(asked.name, reply.status) for asked, reply in covering.shown(every)}
    assert covering.successes() - found == set()


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_code_is_shown(system):
    """Each error a client of a system may meet, but those that cannot be provoked from outside."""
    found = set().union(*(covering.codes(one) for one in _of(system)))
    excepted = {code for known, code in covering.NOT_SHOWN if known == system}
    assert found == covering.CODES[system] - excepted


@pytest.mark.parametrize("system", [system for system in SYSTEMS if system != "cloro"])
def test_no_code_is_forgotten(system):
    """What the OpenAPI document has is what is to be shown; cloro has words of its own."""
    assert covering.documented(system) <= covering.CODES[system]


@pytest.mark.parametrize("system", ["native", "cloro", "asyncqueue"])
def test_what_the_server_sends_is_shown(system):
    """Signed and not: each system's requests to its clients, the other way round."""
    sent = [turn.request for one in _of(system) for turn in one.turns if turn.sent]
    assert {any("signature" in name.casefold() for name, _ in one.headers) for one in sent} == {
        True,
        False,
    }


def test_every_file_is_played():
    """None is left out by its ending, its folder, or a name or a sentence that is another's too."""
    folders = [one for one in HERE.iterdir() if one.is_dir() and one.name != "__pycache__"]
    assert {folder.name for folder in folders} == set(SYSTEMS)
    files = [file for folder in folders for file in folder.rglob("*")]
    assert {file.suffix for file in files} == {".http"}
    assert sorted(EXCHANGES) == sorted(f"{one.parent.name}/{one.stem}" for one in files)
    assert _twice(name.casefold() for name in EXCHANGES) == []
    assert _twice((one.system, one.says) for one in EXCHANGES.values()) == []


def test_every_scene_is_played():
    """A scene nobody is in, or one that is not there, is a slip."""
    assert {one.scene for one in EXCHANGES.values()} == SCENES.keys()


def _of(system):
    return [one for one in EXCHANGES.values() if one.system == system]


def _twice(names):
    return [name for name, times in Counter(names).items() if times > 1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET /v1/key\n\n200 OK\n",
        "# No sentence\n\nGET /v1/key\n\n200 OK\n",
        "# Two.\n# scene: a\n# scene: b\n\nGET /v1/key\n\n200 OK\n",
        "# No reply.\n\nGET /v1/key\n",
        "# No request.\n\n200 OK\n",
        "# No header.\n\nGET /v1/key\nwhat\n\n200 OK\n",
        "# Half a story.\n\nGET /v1/key\n\n200 OK\n\n---\n",
    ],
)
def test_what_is_no_exchange_is_refused(text):
    """A slip in a file is found before anything is played."""
    with pytest.raises(ValueError, match="native/x: "):
        parsing.parse("native/x", text)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (CREATED, SAID),
        ({"metadata": {"a": "x", "b": "y"}}, {"metadata": {"b": "y", "a": "x"}}),
        ("<time or null>", None),
        ("<number>", 0.5),
        (["<integer>", comparing.MORE], [1, 2, 3]),
        ("<job id>.chatgpt.us", f"{SAID['id']}.chatgpt.us"),
        ("Retry in <seconds> s.", "Retry in 60 s."),
    ],
)
def test_what_agrees(written, said):
    """Values of the kind that is written."""
    assert list(comparing.differences(written, said, {})) == []


@pytest.mark.parametrize(
    ("written", "said", "found"),
    [
        (CREATED, dict(reversed(SAID.items())), "the order"),
        (CREATED, {name: SAID[name] for name in ("id", "at", "count")}, "lacks ['error']"),
        (CREATED, SAID | {"extra": None}, "has ['extra'] besides"),
        (CREATED, SAID | {"error": ""}, '.error: "" instead of null'),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"c": 2, "b": 1}]}, ".a[0]: the order"),
        ({"metadata": {"a": "x"}}, {"metadata": {}}, "lacks ['a']"),
        ([1, 2], [1], "1 elements instead of 2"),
        (["<integer>", comparing.MORE], [], "0 elements instead of 1"),
        (["<integer>", comparing.MORE], [1, "2"], "[1]: "),
        (1, 1.0, "1.0 instead of 1"),
        (1, True, "true instead of 1"),
        (None, "null", '"null" instead of null'),
        ("<integer>", "3", ""),
        ("<integer>", 3.0, ""),
        ("<integer>", True, ""),
        ("<integer>", None, ""),
        ("<integer>", -1, ""),
        ("<number>", "0.5", ""),
        ("<number>", False, ""),
        ("<boolean>", 0, ""),
        ("<seconds>", 0, ""),
        ("<seconds>", 61, ""),
        ("<text>", "", ""),
        ("<text>", 3, ""),
        ("<time>", "2026-01-05T09:30:00Z", ""),
        ("<time>", "2026-13-05T09:30:00.000Z", ""),
        ("<time>", "2026-01-05T09:30:00.000+00:00", ""),
        ("<time>", None, ""),
        ("<seconds-time>", "2026-01-05T09:30:00.000Z", ""),
        ("<uuid>", "0199F3A0-5C00-7000-8000-0242AC120002", ""),
        ("<job id>", "task_06cv782s01o01000091ao4g008", ""),
        ("<job id>", f"{SAID['id']}.chatgpt.us", ""),
        ("<list>", {}, ""),
        ("<object>", [], ""),
        ("Retry in <seconds> s.", "Retry in 61 s.", ""),
    ],
)
def test_what_does_not_agree_is_found(written, said, found):
    """Order, null against absent, what is more, and values of another kind."""
    differences = list(comparing.differences(written, said, {}))
    assert len(differences) == 1
    assert found in differences[0]


def test_a_value_with_a_name_is_the_same_from_there_on():
    """`<job id as job>` gives it, `{job}` demands it; what nobody has given is a slip."""
    written, known = ["<job id as job>", "{job}.chatgpt.us"], {}
    assert (
        list(comparing.differences(written, [SAID["id"], f"{SAID['id']}.chatgpt.us"], known)) == []
    )
    assert known == {"job": SAID["id"]}
    assert len(list(comparing.differences(written, [SAID["id"], "job_x.chatgpt.us"], {}))) == 1
    with pytest.raises(KeyError):
        list(comparing.differences("{nobody}", "x", {}))


def test_a_key_that_stands_twice_is_found():
    """JSON would take the last of them."""
    with pytest.raises(ValueError, match="twice"):
        comparing.load('{"a": 1, "a": 1}')
