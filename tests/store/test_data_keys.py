"""The data key: operators change their keys, and what was sealed is opened as before."""

import asyncio

import pytest

from orchestrator.errors import ConfigError
from orchestrator.store import data_keys
from tests import factories

pytestmark = pytest.mark.anyio
OLD, NEW = "an old key of operators " * 2, "a new key of operators " * 2
SEALED = "SELECT sealed FROM data_key"


async def test_all_who_ask_get_the_same(connect):
    """However many ask at once in a new database: each opens what another sealed."""
    connections = [await connect() for _ in range(4)]
    sealers = await asyncio.gather(*(data_keys.sealer(one, OLD) for one in connections))
    sealed = [sealer.seal("secret") for sealer in sealers]
    assert {sealer.open(one) for sealer in sealers for one in sealed} == {"secret"}
    assert len({sealer.digest("secret") for sealer in sealers}) == 1


async def test_a_key_is_changed_and_the_old_one_is_needed_no_more(connection):
    """old; old,new; new,old; new: what was sealed first is opened to the last, and known again."""
    first = await data_keys.sealer(connection, OLD)
    sealed = first.seal("secret")
    for keys in (OLD, f"{OLD},{NEW}", f"{NEW},{OLD}", NEW):
        sealer = await data_keys.sealer(connection, keys)
        assert sealer.open(sealed) == "secret"
        assert sealer.digest("secret") == first.digest("secret")
    with pytest.raises(ConfigError):
        await data_keys.sealer(connection, OLD)


async def test_nothing_is_sealed_anew_without_need(connection):
    """Only where another than the first of the keys had sealed it."""
    await data_keys.sealer(connection, OLD)
    before = await factories.scalar(connection, SEALED)
    await data_keys.sealer(connection, OLD)
    await data_keys.sealer(connection, f"{OLD},{NEW}")
    assert await factories.scalar(connection, SEALED) == before


async def test_a_key_that_opens_nothing_is_refused_and_changes_nothing(connection):
    """The error says what to do, and no key; with the old one back all is as it was."""
    sealed = (await data_keys.sealer(connection, OLD)).seal("secret")
    with pytest.raises(ConfigError, match="put the key back") as refused:
        await data_keys.sealer(connection, NEW)
    assert not any(key.strip() in str(refused.value) for key in (OLD, NEW))
    assert (await data_keys.sealer(connection, OLD)).open(sealed) == "secret"


async def test_nothing_stored_opens_it(connection):
    """The row without the operator's key is of no use: it is no key itself."""
    sealed = (await data_keys.sealer(connection, OLD)).seal("secret")
    row = await factories.scalar(connection, SEALED)
    assert OLD.strip() not in row
    with pytest.raises(ConfigError):
        await data_keys.sealer(connection, row)
    assert sealed not in row
