from datetime import UTC, datetime, timedelta

import pytest

from admission import keys
from admission.keys import Key, NameTakenError
from admission.limits import Limits
from tests import factories

pytestmark = pytest.mark.anyio


async def age(connection, seconds: float) -> None:
    """Let every secret grow older by moving its times into the past."""
    await connection.execute(
        "UPDATE api_secret SET created_at = created_at - %(s)s * interval '1 second',"
        " expires_at = expires_at - %(s)s * interval '1 second'",
        {"s": seconds},
    )


async def test_a_new_key_has_the_default_limits(connection):
    """A key made without limits has those the contract promises, and its secret opens it."""
    issued = await keys.create(connection, "shop")
    assert issued.key == Key(1, "shop", "client", Limits(600, 8, 1000, 50, 1.0), None)
    assert await keys.authenticate(connection, issued.secret) == issued.key


async def test_a_secret_is_well_formed_and_never_the_same(connection):
    """Secrets begin with sk_live_, have 32 url-safe characters or more, and differ."""
    secrets = {(await keys.create(connection, f"k{n}")).secret for n in range(20)}
    assert len(secrets) == 20
    assert all(keys.well_formed(secret) for secret in secrets)


@pytest.mark.parametrize(
    "secret", ["", "sk_live_", "sk_live_" + "a" * 31, "sk_test_" + "a" * 40, "sk_live_" + "ä" * 40]
)
def test_what_cannot_be_a_secret_is_told_apart_without_a_database(secret):
    """A malformed secret is known as such by its form alone."""
    assert not keys.well_formed(secret)


def test_a_trailing_newline_is_not_part_of_a_secret():
    """A secret is matched whole."""
    assert not keys.well_formed("sk_live_" + "a" * 40 + "\n")


async def test_only_the_digest_is_stored(connection):
    """No column of any table holds the secret or a part of it."""
    secret = (await keys.create(connection, "shop")).secret
    dump = "SELECT (SELECT string_agg(s::text, '') FROM api_secret s) || k::text FROM api_key k"
    stored = await factories.scalar(connection, dump)
    assert secret not in stored
    assert secret.removeprefix(keys.PREFIX)[:12] not in stored
    assert keys.digest(secret).hex() in stored


async def test_a_secret_is_not_shown_in_a_repr(connection):
    """Logging what was issued does not log the secret."""
    issued = await keys.create(connection, "shop")
    assert issued.secret not in repr(issued)
    assert "shop" in repr(issued)


async def test_unknown_secrets_open_nothing(connection):
    """A well-formed secret nobody was given is nobody's."""
    await keys.create(connection, "shop")
    assert await keys.authenticate(connection, keys.PREFIX + "a" * 43) is None


async def test_a_name_is_taken_once(connection):
    """A second key of the same name is refused with its name."""
    await keys.create(connection, "shop")
    with pytest.raises(NameTakenError, match="shop"):
        await keys.create(connection, "shop")
    assert [key.name for key in await keys.all_keys(connection)] == ["shop"]


async def test_keys_are_listed_by_name_and_found(connection):
    """All keys are listed by name; one is found by its own, or nothing is."""
    later = (await keys.create(connection, "b", role="operator")).key
    await keys.create(connection, "a")
    assert [key.name for key in await keys.all_keys(connection)] == ["a", "b"]
    assert await keys.find(connection, "b") == later
    assert await keys.find(connection, "c") is None


async def test_an_expired_secret_opens_nothing(connection):
    """A secret works until its expiry and not after."""
    until = datetime.now(UTC) + timedelta(hours=1)
    issued = await keys.create(connection, "shop", expires_at=until)
    opened = await keys.authenticate(connection, issued.secret)
    assert opened is not None
    assert opened.expires_at == until
    await age(connection, 3601)
    assert await keys.authenticate(connection, issued.secret) is None


async def test_rotation_overlaps(connection):
    """Old and new secret both work during the overlap, then only the new one."""
    old = await keys.create(connection, "shop")
    new = await keys.rotate(connection, old.key, overlap_seconds=60)
    assert old.secret != new.secret
    assert await keys.authenticate(connection, old.secret)
    assert await keys.authenticate(connection, new.secret)
    await age(connection, 61)
    assert await keys.authenticate(connection, old.secret) is None
    assert await keys.authenticate(connection, new.secret)


async def test_rotation_without_overlap_ends_the_old_secret_at_once(connection):
    """By default the old secret is dead when the new one is there."""
    old = await keys.create(connection, "shop")
    new = await keys.rotate(connection, old.key)
    assert await keys.authenticate(connection, old.secret) is None
    assert await keys.authenticate(connection, new.secret)


async def test_rotation_never_lengthens_a_life(connection):
    """A secret about to expire does so, however long the overlap."""
    soon = datetime.now(UTC) + timedelta(seconds=30)
    old = await keys.create(connection, "shop", expires_at=soon)
    await keys.rotate(connection, old.key, overlap_seconds=3600)
    await age(connection, 31)
    assert await keys.authenticate(connection, old.secret) is None


async def test_a_revoked_key_is_closed_at_once(connection):
    """Every secret of the key stops working, those of other keys go on."""
    one, other = await keys.create(connection, "one"), await keys.create(connection, "other")
    new = await keys.rotate(connection, one.key, overlap_seconds=60)
    assert await keys.revoke(connection, one.key) == 2
    assert await keys.revoke(connection, one.key) == 0
    assert await keys.authenticate(connection, one.secret) is None
    assert await keys.authenticate(connection, new.secret) is None
    assert await keys.authenticate(connection, other.secret)


async def test_a_revoked_key_can_be_given_a_new_secret(connection):
    """Rotation after a revocation brings the account back, and not the old secret."""
    old = await keys.create(connection, "shop")
    await keys.revoke(connection, old.key)
    new = await keys.rotate(connection, old.key, overlap_seconds=60)
    assert await keys.authenticate(connection, old.secret) is None
    opened = await keys.authenticate(connection, new.secret)
    assert opened is not None
    assert opened.id == old.key.id


async def test_changed_limits_hold_from_the_next_request(connection):
    """Whoever authenticates after the change meets the new limits."""
    issued = await keys.create(connection, "shop")
    limits = Limits(60, 1, 20, 5, 0.5)
    changed = await keys.set_limits(connection, issued.key, limits)
    assert changed.limits == limits
    assert await keys.authenticate(connection, issued.secret) == changed
