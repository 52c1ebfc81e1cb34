import string
import uuid

from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.domain import ids
from orchestrator.domain.ids import ChildId, EventId, ParentId

parents = st.uuids()
surfaces = st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True)
tokens = st.from_regex(r"[a-z0-9_-]{1,255}", fullmatch=True)


@given(parents)
def test_a_parent_id_is_read_back(parent):
    """Its text is 30 url-safe characters without dots and stands for the same parent."""
    text = ids.text(parent)
    assert len(text) == 30
    assert text.startswith("job_")
    assert set(text) <= set(string.ascii_lowercase + string.digits + "_")
    assert ids.read(text) == ParentId(parent)


@given(parents, parents)
def test_ids_sort_as_their_bytes_do(one, other):
    """The order of two texts is that of the two ids."""
    assert (ids.text(one) < ids.text(other)) == (one.bytes < other.bytes)


def test_new_ids_grow_with_time():
    """Ids made one after the other sort in that order and are version 7."""
    made = [ids.new() for _ in range(2000)]
    assert sorted(made) == made
    assert sorted(map(ids.text, made)) == list(map(ids.text, made))
    assert len(set(made)) == 2000
    assert {one.version for one in made} == {7}
    assert isinstance(made[0], uuid.UUID)


@given(parents, surfaces, tokens)
def test_a_child_id_is_read_back(parent, surface, token):
    """Its text names parent, surface and region token."""
    text = ids.child_text(ids.text(parent), surface, token)
    assert ids.read(text) == ChildId(parent, surface, token)


@given(parents, st.sampled_from("0123456789abcdefghijklmnopqrstuv"))
def test_a_parent_has_one_spelling(parent, last):
    """The last character has spare bits; only the canonical spelling is read."""
    text = ids.text(parent)
    other = text[:-1] + last
    read = ids.read(other)
    assert read is None or ids.text(read.parent) == other


@given(parents)
def test_case_and_frame_matter(parent):
    """Upper case, white space and cut or longer ids are no ids."""
    text = ids.text(parent)
    assume(text.upper() != text)
    for other in (text.upper(), f" {text}", f"{text}\n", text[:-1], text + "0", text[4:]):
        assert ids.read(other) is None


@given(st.text(max_size=60))
def test_anything_may_be_asked_for(text):
    """Whatever a client sends is read or is None; it never raises."""
    read = ids.read(text)
    assert read is None or ids.text(read.parent) == text[:30]


def test_a_child_id_needs_a_good_parent_surface_and_token():
    """Each part of a child id is checked."""
    parent = ids.text(ids.new())
    for child in (
        f"{parent}.chatgpt",
        f"{parent}..us",
        f"{parent}.ChatGPT.us",
        f"{parent}.1gpt.us",
        f"{parent}.chatgpt.",
        f"{parent}.chatgpt.us.gb",
        f"{parent}.chatgpt.US",
        f"{parent}.{'a' * 41}.us",
        f"job_{'w' * 26}.chatgpt.us",
    ):
        assert ids.read(child) is None


@given(parents)
def test_a_reservation_is_no_job(made):
    """Its id is read back as itself, and neither is read as the other."""
    text = ids.reservation_text(made)
    assert text == "res_" + ids.text(made).removeprefix("job_")
    assert ids.read_reservation(text) == made
    assert ids.read(text) is ids.read_reservation(ids.text(made)) is None
    assert ids.read_reservation(text.upper()) is ids.read_reservation(text + "0") is None


@given(parents)
def test_a_webhook_secret_is_neither_a_job_nor_a_reservation(made):
    """Its id is read back as itself, and none of them is read as another."""
    text = ids.webhook_secret_text(made)
    assert text == "whs_" + ids.text(made).removeprefix("job_")
    assert ids.read_webhook_secret(text) == made
    assert ids.read(text) is ids.read_reservation(text) is ids.read_delivery(text) is None
    assert ids.read_webhook_secret(ids.reservation_text(made)) is None
    assert ids.read_webhook_secret(text.upper()) is ids.read_webhook_secret(text + "0") is None


events = st.builds(EventId, parents, st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1))
beyond = st.one_of(
    st.builds(EventId, parents, st.integers(2**15, 2**16 - 1), st.integers(0, 2**32 - 1)),
    st.builds(EventId, parents, st.integers(0, 2**16 - 1), st.integers(2**31, 2**32 - 1)),
)


@given(events, st.sampled_from("0123456789abcdefghijklmnopqrstuv"))
def test_a_delivery_id_is_read_back(event, last):
    """It names the parent, the child and the run; it has one spelling, and is no event's id."""
    text = ids.delivery_text(event)
    assert ids.read_delivery(text) == event
    assert ids.event_text(event) == "evt_" + text.removeprefix("dlv_")
    assert ids.read_delivery(ids.event_text(event)) is ids.read(text) is None
    other = ids.read_delivery(text[:-1] + last)
    assert other is None or ids.delivery_text(other) == text[:-1] + last


@given(beyond)
def test_an_id_beyond_what_is_stored_is_no_delivery(event):
    """Well spelled, and larger than any row can hold: nobody asks the database for it."""
    assert ids.read_delivery(ids.delivery_text(event)) is None


@given(st.text(max_size=60))
def test_any_delivery_or_secret_may_be_asked_for(text):
    """Whatever a client sends is read or is None; it never raises."""
    for name in (text, f"dlv_{text}", f"whs_{text}"):
        event, secret = ids.read_delivery(name), ids.read_webhook_secret(name)
        assert event is None or ids.delivery_text(event) == name
        assert secret is None or ids.webhook_secret_text(secret) == name
