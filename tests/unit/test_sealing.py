"""Sealing: what is stored of a secret can be opened by whoever has the key, and by nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sealing import Sealer, UnsealableError

OLD, NEW = "the key of the last years " * 2, "the key of these days " * 2
secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)


@given(secrets)
def test_a_sealed_secret_is_opened_again(secret):
    """By another process with the same key; each sealing differs, the digest does not."""
    one, other = Sealer(OLD), Sealer(OLD)
    sealed = one.seal(secret)
    assert other.open(sealed) == secret
    assert sealed != other.seal(secret)
    assert one.digest(secret) == other.digest(secret)


@given(secrets, secrets)
def test_digests_tell_secrets_apart(secret, other):
    """Equal for equal secrets only, and others under another key."""
    sealer = Sealer(OLD)
    assert (sealer.digest(secret) == sealer.digest(other)) == (secret == other)
    assert sealer.digest(secret) != Sealer(NEW).digest(secret)


def test_nothing_shows_what_was_sealed():
    """Neither what is stored nor the sealer says the secret or the key."""
    sealer = Sealer(OLD)
    secret = "a rather long secret"
    said = f"{sealer.seal(secret)} {sealer.digest(secret)} {sealer!r}"
    assert secret not in said
    assert OLD.strip() not in said


def test_a_key_is_rotated_without_losing_anything():
    """The new one in front seals, the old one opens what was; alone neither opens the other's."""
    before, both, after = Sealer(OLD), Sealer(f"{NEW},{OLD}"), Sealer(NEW)
    old, new = before.seal("secret"), both.seal("secret")
    assert both.open(old) == both.open(new) == after.open(new) == "secret"
    assert both.digest("secret") == after.digest("secret")
    assert [both.newest(sealed) for sealed in (old, new, "x")] == [False, True, False]
    for sealer, sealed in ((after, old), (before, new)):
        with pytest.raises(UnsealableError):
            sealer.open(sealed)


@pytest.mark.parametrize("sealed", ["", "x", "gAAAAA==", "secret"])
def test_what_was_never_sealed_is_not_opened(sealed):
    """Whatever it is."""
    with pytest.raises(UnsealableError):
        Sealer(OLD).open(sealed)


def test_what_was_changed_is_not_opened():
    """A sealed secret with one letter replaced is none."""
    sealed = Sealer(OLD).seal("secret")
    for place in (5, 20, len(sealed) - 5):
        letter = "A" if sealed[place] != "A" else "B"
        with pytest.raises(UnsealableError):
            Sealer(OLD).open(sealed[:place] + letter + sealed[place + 1 :])
