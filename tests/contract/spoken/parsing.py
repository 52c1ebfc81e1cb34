"""Reads exchanges from their files; `README.md` says how they are written."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SYSTEMS = ("native", "cloro", "asyncqueue", "rodin")
AGAIN = "# asked again until so"
SENT = "# sent by the server"
_STATUS = re.compile(r"([1-5]\d\d) (\S.*)")
_REQUEST = re.compile(r"([A-Z]+) (/\S*)")
_HEADER = re.compile(r"([A-Za-z][A-Za-z-]*): (.*)")
_BREAK = re.compile("^---\n", re.MULTILINE)
_SCENE = re.compile("# scene: (.+)")

Headers = tuple[tuple[str, str], ...]


class Request(NamedTuple):
    """What is asked, as it is written: with variables in braces."""

    method: str
    target: str
    headers: Headers
    body: str


class Reply(NamedTuple):
    """What is answered, as it is written: with variables and placeholders."""

    status: int
    reason: str
    headers: Headers
    body: str


class Turn(NamedTuple):
    """A request and its reply; asked `again` until they agree, or `sent` by the server to us."""

    request: Request
    reply: Reply
    again: bool
    sent: bool


class Exchange(NamedTuple):
    """A file: what it shows, where it plays, and its turns in order."""

    name: str
    says: str
    scene: str
    turns: tuple[Turn, ...]

    @property
    def system(self) -> str:
        return self.name.partition("/")[0]


def every() -> Iterator[Exchange]:
    """All exchanges; every file in the folders of the systems is one."""
    for system in SYSTEMS:
        for file in sorted((HERE / system).iterdir()):
            yield parse(f"{system}/{file.stem}", file.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Exchange:
    """The exchange of this text; raises `ValueError` for what is none."""
    says, scenes = [], []
    for line in _comments(text):
        found = _SCENE.fullmatch(line)
        (scenes.append(found[1]) if found else says.append(line.removeprefix("# ")))
    if not says or not says[0].endswith(".") or len(scenes) > 1:
        raise ValueError(f"{name}: begins with a sentence, and with one scene at most")
    turns = tuple(_turn(part, name) for part in _BREAK.split(text))
    return Exchange(name, says[0], scenes[0] if scenes else "", turns)


def _comments(text: str) -> list[str]:
    lines = text.splitlines()
    return lines[: next((n for n, line in enumerate(lines) if line[:1] != "#"), len(lines))]


def _turn(text: str, name: str) -> Turn:
    comments = _comments(text.lstrip("\n"))
    lines = text.strip("\n").splitlines()[len(comments) :]
    replies = [n for n, line in enumerate(lines) if _STATUS.fullmatch(line)]
    if not replies:
        raise ValueError(f"{name}: a turn without a reply")
    request, reply = lines[: replies[0]], lines[replies[0] :]
    (asked, *_), headers, body = _split(request, _REQUEST, name)
    (answered, *_), told, said = _split(reply, _STATUS, name)
    return Turn(
        Request(asked[1], asked[2], headers, body),
        Reply(int(answered[1]), answered[2], told, said),
        AGAIN in comments,
        SENT in comments,
    )


def _split(
    lines: Sequence[str], first: re.Pattern[str], name: str
) -> tuple[list[re.Match[str]], Headers, str]:
    """Its first line, its headers, and its body without the empty lines around."""
    lines = "\n".join(lines).strip("\n").splitlines()
    until = lines.index("") if "" in lines else len(lines)
    head = [first.fullmatch(line) for line in lines[:1]]
    headers = [_HEADER.fullmatch(line) for line in lines[1:until]]
    if not head or None in head or None in headers:
        raise ValueError(f"{name}: not the head of a request or reply: {lines[:until]}")
    body = "\n".join(lines[until:]).strip("\n")
    return [m for m in head if m], tuple((h[1], h[2]) for h in headers if h), body
