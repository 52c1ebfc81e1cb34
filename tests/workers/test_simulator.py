import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.surfaces import SurfaceConfig
from workers.adapters import base, simulator
from workers.errors import OptionError, SurfaceError

pytestmark = pytest.mark.anyio


def simulated(**options) -> simulator.Simulator:
    return simulator.build(SurfaceConfig(name="s", adapter="simulator", options=options))


def request(**changes) -> base.CaptureRequest:
    return msgspec.structs.replace(
        base.CaptureRequest(child="job_1.s.us", query="tea", surface="s", country="US"), **changes
    )


def outcome(adapter: simulator.Simulator, asked: base.CaptureRequest) -> object:
    """What a simulator without latency does, driven without an event loop."""
    try:
        adapter.capture(asked).send(None)
    except StopIteration as end:
        capture = end.value
        seen = msgspec.structs.replace(capture.provenance, captured_at=None)
        return msgspec.structs.replace(capture, provenance=seen)
    except SurfaceError as error:
        return error.code, error.permanent
    raise AssertionError("a simulator without latency waited")


requests = st.builds(
    request,
    query=st.text(min_size=1),
    country=st.sampled_from(["US", "GB", "DE"]),
    city=st.none() | st.text(),
    attempt=st.integers(1, 10),
)


@given(requests, st.integers(0, 2**64))
def test_equal_attempts_end_equally(asked, seed):
    """The same seed, query, surface, region and attempt end the same, whichever child asks."""
    options = {"seed": seed, "error_rate": 0.3, "permanent_rate": 0.2, "absent_rate": 0.3}
    again = msgspec.structs.replace(asked, child="job_2.s.us")
    assert outcome(simulated(**options), asked) == outcome(simulated(**options), again)


def test_seed_query_surface_region_and_attempt_all_count():
    """Changing any of them changes some outcomes."""
    options = {"error_rate": 0.5}
    plain = [outcome(simulated(**options), request(query=f"q{n}")) for n in range(64)]
    for changes in ({"surface": "t"}, {"country": "GB"}, {"city": "Bath"}, {"attempt": 2}):
        other = [
            outcome(simulated(**options), request(query=f"q{n}", **changes)) for n in range(64)
        ]
        assert other != plain
    seeded = [outcome(simulated(seed=8, **options), request(query=f"q{n}")) for n in range(64)]
    assert seeded != plain


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"error_rate": 1}, ("SIMULATED_ERROR", False)),
        ({"permanent_rate": 1.0, "error_rate": 1}, ("SIMULATED_REFUSAL", True)),
    ],
)
def test_a_rate_of_one_always_fails(options, expected):
    """A rate of 1 is every attempt."""
    assert {outcome(simulated(**options), request(attempt=n)) for n in range(1, 200)} == {expected}


def test_rates_are_shares():
    """Over many attempts a rate of 0.2 fails about a fifth of them."""
    adapter = simulated(error_rate=0.2)
    ends = [outcome(adapter, request(query=str(n))) for n in range(4000)]
    assert 650 < ends.count(("SIMULATED_ERROR", False)) < 950


def test_an_absent_surface_is_a_capture():
    """The surface that showed nothing is an empty answer with a warning, not a failure."""
    capture = outcome(simulated(absent_rate=1), request())
    assert capture.provenance.surface_present is False
    assert (capture.answer.text, capture.evidence.sources) == ("", ())
    assert [warning.code for warning in capture.warnings] == ["surface_absent"]


@given(st.integers(1, 5000), requests)
def test_answers_have_the_size_asked_for(chars, asked):
    """An answer is as many characters long as the option says, and its ranges lie inside it."""
    capture = outcome(simulated(answer_chars=chars), asked)
    assert len(capture.answer.text) == chars
    ends = [end for source in capture.evidence.sources for _, end in source.char_ranges]
    assert all(end <= chars for end in ends)


@pytest.mark.parametrize(
    ("wanted", "code"), [("error", "SIMULATED_ERROR"), ("refusal", "SIMULATED_REFUSAL")]
)
def test_a_client_may_name_the_outcome(wanted, code):
    """The option `outcome` of a request overrides the rates."""
    assert outcome(simulated(), request(options={"outcome": wanted}))[0] == code


async def test_latency_is_waited_and_can_be_cut_short():
    """A simulator with latency yields to the loop, and its time-out is the base's."""
    adapter = simulated(latency_ms=60_000)
    assert not adapter.instant
    with pytest.raises(SurfaceError) as caught:
        await base.run(adapter, request(), timeout_seconds=0.01)
    assert (caught.value.code, caught.value.permanent) == ("UPSTREAM_TIMEOUT", False)
    brief = simulated(latency_ms=[1, 3])
    captured = await asyncio.wait_for(base.run(brief, request(), timeout_seconds=30), 30)
    assert captured.capture.provenance.surface_present


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"latency_ms": [9, 1]}, ()),
        ({"latency_ms": -1}, ("latency_ms",)),
        ({"latency_ms": [1]}, ("latency_ms",)),
        ({"error_rate": 1.1}, ("error_rate",)),
        ({"answer_chars": 0}, ("answer_chars",)),
        ({"answer_chars": "5"}, ("answer_chars",)),
        ({"sede": 1}, ("sede",)),
    ],
)
def test_bad_options_are_refused(options, key):
    """An option the simulator cannot use stops the start, by its key."""
    with pytest.raises(OptionError) as caught:
        simulated(**options)
    assert tuple(caught.value.faults[0][0])[:1] == key
