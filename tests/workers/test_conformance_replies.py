"""What providers' replies mean where they are not simply an answer: each contract's own cases."""

import asyncio
import copy
import json

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.envelope import Capture
from orchestrator.surfaces import SurfaceConfig
from tests.workers.fakes import FAKES, PRICED
from tests.workers.fakes import anthropic as claude
from tests.workers.fakes import openai as gpt
from tests.workers.fakes.saying import LABEL, MODEL, Said
from workers.adapters import base
from workers.adapters.normalising import verified
from workers.adapters.providers import (
    answering,
    anthropic,
    compatible,
    gemini,
    openai,
    perplexity,
    pricing,
    refusals,
    xai,
)
from workers.adapters.providers.pricing import Spent
from workers.errors import SurfaceError

A = ("https://a.example/?q=1", "A")
SAID = Said(pieces=(("Acmé 👟 is good. ", (A,)), ("End.", ())), found=(A,), queries=("shoes",))
PROVIDERS = {
    "openai": openai.OpenAI(),
    "anthropic": anthropic.Anthropic(),
    "perplexity": perplexity.Perplexity(),
    "gemini": gemini.Gemini(),
    "xai": xai.XAI(),
    "openai_compatible": compatible.Compatible(),
}
MADE = {
    "openai": openai.build,
    "anthropic": anthropic.build,
    "perplexity": perplexity.build,
    "gemini": gemini.build,
    "xai": xai.build,
    "openai_compatible": compatible.build,
}


def told(name: str, **changes):
    """A fake's reply to be changed."""
    return copy.deepcopy(FAKES[name].tell(SAID._replace(**changes)).reply)


def hear(name: str, *replies):
    return PROVIDERS[name].read([json.dumps(reply).encode() for reply in replies])


def failure(name: str, reply) -> SurfaceError:
    with pytest.raises(SurfaceError) as caught:
        hear(name, reply)
    assert caught.value.code == "BAD_RESPONSE"
    return caught.value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def places(value, path=()):
    """Where in a JSON value there is something."""
    yield path
    inner = ()
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield from places(one, (*path, key))


@given(data=st.data(), name=st.sampled_from(sorted(PROVIDERS)))
def test_no_reply_breaks_its_adapter(name, data):
    """With anything at all in places of it, it is a capture that can be stored, or none."""
    held = [json.loads(json.dumps(told(name)).replace(LABEL, PRICED[name]))]
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = (0, *data.draw(st.sampled_from(list(places(held[0])))))
        holder = held
        for key in path:
            holder = holder[key]
        holder[last] = data.draw(JSON)
    options = {"model": "gpt-4o", "api_key": "key-1", "base_url": "http://h/"}
    config = SurfaceConfig(name="s", adapter=name, options=options, raw=True)
    raw = json.dumps(held[0]).encode()
    request = base.CaptureRequest(child="job_1.s.gb", query="q", surface="s", country="GB")
    try:
        PROVIDERS[name].more({"messages": []}, raw)
        capture = asyncio.run(MADE[name](config)._captured(request, frozenset(), [raw]))
    except (SurfaceError, msgspec.MsgspecError):
        return
    stored, _ = verified(capture)
    for source in stored.evidence.sources:
        length = len(stored.answer.text)
        assert all(0 <= start < end <= length for start, end in source.char_ranges)


@pytest.mark.parametrize("name", ["openai", "xai"])
@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [
        ("failed", "server_error", False),
        ("failed", "rate_limit_exceeded", False),
        ("failed", None, False),
        ("failed", "invalid_prompt", True),
        ("queued", None, True),
        ("cancelled", None, True),
    ],
)
def test_a_response_that_came_to_nothing(name, status, code, permanent):
    """It is a failure by the provider's own word; what waits in the background is nobody's."""
    error = None if code is None else {"code": code, "message": "key-1"}
    failed = failure(name, told(name) | {"status": status, "error": error, "output": []})
    assert failed.permanent is permanent
    assert "key-1" not in failed.message
    assert str(code or status) in failed.message or code is None


@pytest.mark.parametrize("name", ["openai", "xai"])
def test_a_response_that_policy_cut_short(name):
    """It is a refusal, before the answer or in the middle of it."""
    before = told(name) | {"status": "failed", "error": {"code": "bio_policy"}, "output": []}
    amid = told(name) | {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    assert (hear(name, before).refused, hear(name, before).markdown) == (True, "")
    assert (hear(name, amid).refused, hear(name, amid).unfinished) == (True, False)


def test_what_a_response_did_on_the_web():
    """A search is paid for, an opened page is met; one that failed is neither."""

    def call(action, status="completed"):
        return {"type": "web_search_call", "id": "ws_1", "status": status, "action": action}

    search = {"type": "search", "query": "shoes", "queries": ["shoes", "boots"]}
    opened = {"type": "open_page", "url": "https://open.example/"}
    message = gpt.message(gpt.text("Yes."))
    heard = hear("openai", gpt.response([call(search), call(opened), message]))
    assert (heard.searched, heard.spent.searches, heard.queries) == (True, 1, ["shoes", "boots"])
    assert [page.url for page in heard.retrieved] == ["https://open.example/"]
    heard = hear("openai", gpt.response([call(search, "failed"), message]))
    assert (heard.searched, heard.spent.searches, heard.retrieved) == (False, 0, [])


def test_only_the_answer_of_a_response_is_read():
    """What the model says on the way is not it; a function that it calls is nobody's to run."""
    on_the_way = gpt.message(gpt.text("Let me see."), phase="commentary")
    final = gpt.message(gpt.text("Yes."), gpt.text("No."), phase="final_answer")
    heard = hear("openai", gpt.response([on_the_way, final]))
    assert (heard.markdown, heard.unfinished) == ("Yes.\n\nNo.", False)
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    assert hear("openai", gpt.response([call])).unfinished


@pytest.mark.parametrize(
    ("cited", "url"),
    [
        ("https://a.example/?utm_source=openai", "https://a.example/"),
        ("https://a.example/?q=a%20b&e&utm_source=openai#x", "https://a.example/?q=a%20b&e#x"),
        ("https://a.example/?utm_source=openai&z=%C3%A9", "https://a.example/?z=%C3%A9"),
        ("https://a.example/?utm_source=openai2", "https://a.example/?utm_source=openai2"),
        ("http://[/?utm_source=openai", "http://[" + "/"),
    ],
)
def test_openai_s_mark_is_taken_off_an_address(cited, url):
    """And all else of the address is as it was."""
    mark = {"type": "url_citation", "start_index": 0, "end_index": 1, "url": cited, "title": "A"}
    heard = hear("openai", gpt.response([gpt.message(gpt.text("Yes.", mark))]))
    assert [one.page.url for one in heard.citations] == [url]


def test_xai_s_number_of_a_mark_is_no_title():
    """A page is not called 1."""
    assert {one.page.title for one in hear("xai", told("xai")).citations} == {None}


class Turns:
    """Claude, in so many turns; keeps what it is asked."""

    def __init__(self, *replies):
        self.replies, self.asked = replies, []

    async def handle(self, request):
        self.asked.append(await request.json())
        return web.json_response(self.replies[min(len(self.asked), len(self.replies)) - 1])


@pytest.fixture
async def asked_in_turns(serve):
    made = []

    async def ask(turns: Turns, **options) -> Capture:
        options |= {"model": MODEL, "api_key": "key-1", "base_url": await serve(turns.handle)}
        config = SurfaceConfig(name="s", adapter="anthropic", options=options, raw=True)
        made.append(anthropic.build(config))
        request = base.CaptureRequest(child="job_1.s.gb", query="q", surface="s", country="GB")
        return (await base.run(made[-1], request, timeout_seconds=30)).capture

    yield ask
    for adapter in made:
        await adapter.close()


def text(words: str, *pages):
    citations = [
        {"type": "web_search_result_location", "url": url, "title": title, "cited_text": "c"}
        for url, title in pages
    ]
    return {"type": "text", "text": words, "citations": citations or None}


@pytest.mark.anyio
async def test_a_turn_that_paused_goes_on(asked_in_turns):
    """What it said is sent back as it came; answer, sources and cost are of all turns."""
    first = [*claude.searched("a", (A,)), text("First. ", A)]
    paused = claude.turn(first, stop_reason="pause_turn")
    turns = Turns(paused, claude.turn([text("Last.", A)]))
    capture = await asked_in_turns(turns)
    assert turns.asked[1] == turns.asked[0] | {
        "messages": [*turns.asked[0]["messages"], {"role": "assistant", "content": first}]
    }
    assert capture.answer.text == "First. Last."
    assert [source.char_ranges for source in capture.evidence.sources] == [((0, 7), (7, 12))]
    assert capture.provenance.usage.input_tokens == 2000
    assert (capture.warnings, len(capture.raw)) == ((), 2)


@pytest.mark.anyio
async def test_an_answer_that_pauses_for_ever(asked_in_turns):
    """After so many turns what there is is the answer, and it is told that it is not whole."""
    turns = Turns(claude.turn([text("More. ")], stop_reason="pause_turn"))
    capture = await asked_in_turns(turns)
    assert len(turns.asked) == answering.MOST_TURNS
    assert capture.answer.text.count("More.") == answering.MOST_TURNS
    assert [warning.code for warning in capture.warnings] == ["truncated"]


def test_claude_s_other_ends():
    """A tool that is not ours to run ends it early; a search that failed is none."""
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    assert hear("anthropic", claude.turn([text("So: "), tool], stop_reason="tool_use")).unfinished
    search, result = claude.searched("a", ())
    result["content"] = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    unpaid = {"input_tokens": 1, "output_tokens": 1}
    heard = hear("anthropic", claude.turn([search, result, text("So.")], usage=unpaid))
    assert (heard.markdown, heard.queries, heard.searched) == ("So.", ["a"], False)
    heard = hear("anthropic", claude.turn([], stop_reason="refusal"))
    assert (heard.markdown, heard.refused) == ("", True)


def test_a_temperature_is_of_an_older_version():
    """Anthropic's contract has none any more; one that is configured takes the version that has."""
    options = anthropic.ProviderOptions(model=MODEL)
    warm = anthropic.ProviderOptions(model=MODEL, temperature=0.5)
    versions = [
        PROVIDERS["anthropic"].headers("k", one)["anthropic-version"] for one in (options, warm)
    ]
    assert versions == ["2026-10-21", "2023-06-01"]


def candidate(finish: str, *parts, **more):
    content = {"role": "model", "parts": list(parts)}
    return {"candidates": [{"content": content, "finishReason": finish}]} | more


@pytest.mark.parametrize(
    ("finish", "refused", "unfinished"),
    [
        ("STOP", False, False),
        ("MAX_TOKENS", False, True),
        ("SAFETY", True, False),
        ("PROHIBITED_CONTENT", True, False),
        ("LANGUAGE", True, False),
        ("MALFORMED_RESPONSE", False, True),
    ],
)
def test_how_gemini_s_answers_end(finish, refused, unfinished):
    """By its limit, by a refusal, or broken off; what was said before is the answer."""
    heard = hear("gemini", candidate(finish, {"text": "So", "thought": True}, {"text": "Yes."}))
    assert (heard.markdown, heard.refused, heard.unfinished) == ("Yes.", refused, unfinished)


def test_how_gemini_says_nothing():
    """A prompt or an answer that it refuses is a refusal; where it broke it may do better again."""
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    for reply in (blocked, candidate("SAFETY"), {"candidates": [{"finishReason": "SAFETY"}]}):
        assert (hear("gemini", reply).refused, hear("gemini", reply).markdown) == (True, "")
    assert not hear("gemini", candidate("STOP")).refused
    failed = failure("gemini", candidate("MALFORMED_FUNCTION_CALL"))
    assert not failed.permanent
    assert "MALFORMED_FUNCTION_CALL" in failed.message


def test_gemini_s_segments_count_bytes_of_their_part():
    """Of another part than there are they say nothing."""
    reply = candidate("STOP", {"text": "é: "}, {"text": "日本 tea"})
    segments = [
        {"partIndex": 1, "endIndex": 6},
        {"endIndex": 2},
        {"partIndex": 2},
        {"partIndex": -1},
    ]
    reply["candidates"][0]["groundingMetadata"] = {
        "groundingChunks": [{"web": {"uri": A[0]}}, {"retrievedContext": {}}],
        "groundingSupports": [
            {"segment": segment, "groundingChunkIndices": [0, 1, 7]} for segment in segments
        ],
    }
    heard = hear("gemini", reply)
    assert [heard.markdown[slice(*one.span)] for one in heard.citations] == ["日本", "é"]


def test_what_a_model_thinks_is_not_its_answer():
    """A section of thoughts before it is left out, and what is cited is still where it was."""
    reply = told("openai_compatible")
    message = reply["choices"][0]["message"]
    thought = "<think>\n[1] Hm?\n</think>\n\n"
    place = message["annotations"][0]["url_citation"]
    before = hear("openai_compatible", reply)
    message["content"] = thought + message["content"]
    place |= {name: place[name] + len(thought) for name in ("start_index", "end_index")}
    after = hear("openai_compatible", reply)
    assert (after.markdown, after.citations) == (before.markdown, before.citations)
    message["content"] = "<think>Hm"
    assert hear("openai_compatible", reply | {"usage": None}).markdown == ""


def test_an_error_in_a_completion():
    """Told with a status of 200, once an answer has begun: a failure, which may pass."""
    error = {"code": 502, "message": "key-1", "type": "provider_error"}
    for reply in (
        {"error": error},
        {"choices": [{"message": {}, "finish_reason": "error", "error": error}]},
    ):
        failed = failure("openai_compatible", reply)
        assert (failed.permanent, failed.message) == (
            False,
            "the provider failed to answer (provider_error)",
        )


def test_other_completions():
    """An answer in parts, a tool's call, a filter, bare citations, a mark beyond them."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b[2]"}]
    choice = {"message": {"content": parts}, "finish_reason": "tool_calls"}
    heard = hear("perplexity", {"choices": [choice], "citations": ["https://a.example/"]})
    assert (heard.markdown, heard.citations, heard.unfinished) == ("ab[2]", [], True)
    assert [page.url for page in heard.retrieved] == ["https://a.example/"]
    filtered = {"message": {"content": "a"}, "finish_reason": "content_filter"}
    assert hear("openai_compatible", {"choices": [filtered]}).refused


EXPLAINED = {
    "API_KEY_INVALID": (
        400,
        {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]},
        "(API_KEY_INVALID); check the API key of this surface (VARIABLE)",
    ),
    "a delay": (
        429,
        {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [5, {"retryDelay": "34.5s"}]},
        "(RESOURCE_EXHAUSTED)",
    ),
    "a word that may be a key": (400, {"code": "sk-proj-1234", "type": "invalid"}, "(invalid)"),
    "nothing to tell": (500, {"code": 7, "type": ["a"], "details": {"reason": 1}}, "status 500"),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_an_error_is_told_by_its_word(case):
    """Google's delay is heard, a key that Google does not know is named; no text is repeated."""
    status, error, said = EXPLAINED[case]
    plain = SurfaceError(
        "UPSTREAM_STATUS",
        f"the upstream answered with status {status}",
        permanent=status == 400,
        response_code=status,
    )
    body = json.dumps([{"error": error | {"message": "key-1"}}]).encode()
    explained = refusals.explained(plain, body, "VARIABLE")
    assert explained.message.endswith(said)
    assert (explained.permanent, explained.response_code) == (status == 400, status)
    assert explained.retry_after_seconds == (34.5 if case == "a delay" else None)


@pytest.mark.parametrize(
    ("provider", "model", "dearer"),
    [("openai", "gpt-5", 0.01), ("anthropic", "claude-sonnet-4-5", 0.01)],
)
def test_searches_cost_and_cached_tokens_cost_less(provider, model, dearer):
    """By published prices, of models that have them."""

    def cost(**more) -> float:
        return pricing.usage(
            provider, model, Spent(10_000, 100, **more), None
        ).estimated_cost.amount

    assert cost(searches=3) == pytest.approx(cost() + 3 * dearer)
    assert cost(cached=9_000) < cost()


def test_numbers_that_cannot_be_cost_nothing():
    """A provider that miscounts is no reason to lose its answer."""
    for spent in (Spent(1, 1, cached=2), Spent(-1, 1), Spent(1, 1, searches=-1)):
        assert pricing.usage("openai", "gpt-4o", spent, None).estimated_cost.amount is None


def test_gemini_2_is_paid_by_the_answer():
    """However many searches it took; later ones by the search."""
    reply = told("gemini", queries=("a", "b"))
    assert hear("gemini", reply | {"modelVersion": "gemini-2.5-flash"}).spent.searches == 1
    assert hear("gemini", reply | {"modelVersion": "gemini-3-pro"}).spent.searches == 2
