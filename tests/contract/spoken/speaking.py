"""Plays an exchange: sends what is written, and compares what comes with what is written."""

from contextlib import AsyncExitStack, suppress
from typing import NamedTuple

import httpx

from tests.contract.spoken import bodies, judging
from tests.contract.spoken.comparing import fill
from tests.contract.spoken.judging import Said
from tests.contract.spoken.parsing import Exchange, Turn
from tests.contract.spoken.receiver import Receiver
from tests.contract.spoken.scenes import SCENES
from tests.contract.spoken.stage import Stage
from tests.waiting import eventually

PADDING = "x" * 256 * 1024
"""Fills a body beyond what may be sent."""
PATIENCE = httpx.Timeout(30)
UNBOUND = httpx.Limits(max_connections=None)


class Cast(NamedTuple):
    """Who speaks: a client, and what the server calls."""

    client: httpx.AsyncClient
    receiver: Receiver


async def play(exchange: Exchange, stage: Stage) -> None:
    """Every turn in its order; `AssertionError` with all that differs in one."""
    scene = SCENES[exchange.scene]
    issued = await stage.key(scene.limits, role=scene.role, credits_left=scene.credits)
    name, secret = issued.key.name, issued.secret
    known = {"key": secret, "name": name, "padding": PADDING}
    known["receiver"] = f"{stage.receiver.url}/{name}"
    url = stage.impatient_url if scene.impatient else stage.url
    headers = {} if scene.keyless else {"Authorization": f"Bearer {secret}"}
    async with AsyncExitStack() as exits:
        client = await exits.enter_async_context(_client(url, headers))
        if scene.prepare:
            await scene.prepare(client, exits)
        for turn in exchange.turns:
            known = await _agreed(turn, Cast(client, stage.receiver), known)


def _client(url: str, headers: dict[str, str]) -> httpx.AsyncClient:
    """It reads no certificates, which takes longer than most exchanges."""
    return httpx.AsyncClient(
        base_url=url, headers=headers, timeout=PATIENCE, limits=UNBOUND, verify=False
    )


async def _agreed(turn: Turn, cast: Cast, known: dict[str, str]) -> dict[str, str]:
    """What is known after the turn."""
    learnt: dict[str, str] = {}
    found = [f"{turn.request.target} never came"]

    async def agree() -> bool:
        learnt.update(known)
        if turn.sent:
            found[:] = _called(turn, cast, learnt) if _heard(turn, cast, known) else found
        else:
            found[:] = judging.reply(turn, await _asked(turn, cast.client, known), learnt)
        return not found

    if turn.again or turn.sent:
        with suppress(TimeoutError):
            await eventually(agree)
    else:
        await agree()
    assert not found, "\n".join([f"{turn.request.method} {turn.request.target}", *found])
    return learnt


async def _asked(turn: Turn, client: httpx.AsyncClient, known: dict[str, str]) -> Said:
    method, target, headers, body = turn.request
    sent = {name: fill(value, known) for name, value in headers}
    content = fill(body, known).encode()
    asked = client.stream(method, fill(target, known), headers=sent, content=content or None)
    async with asked as response:
        text = ""
        async for part in response.aiter_text():
            text += part
            if bodies.enough(text, turn.reply.body):
                break
    return Said(response.status_code, response.headers, text)


def _heard(turn: Turn, cast: Cast, known: dict[str, str]) -> bool:
    return bool(cast.receiver.calls[_path(turn, known)])


def _called(turn: Turn, cast: Cast, known: dict[str, str]) -> list[str]:
    """What differs in the oldest call that nobody has looked at, which is looked at now."""
    path = _path(turn, known)
    call = cast.receiver.calls[path].pop(0)
    answered = cast.receiver.status(path)
    return judging.call(turn, Said(answered, call.headers, call.body), known)


def _path(turn: Turn, known: dict[str, str]) -> str:
    return f"/{known['name']}{turn.request.target}"
