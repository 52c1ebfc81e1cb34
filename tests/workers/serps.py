"""SERP APIs as their pages publish them: what a preset's call is to hold, and what it is answered.

Pure values: what one of these replies means is read by the preset that is under test.
"""

from typing import Any, NamedTuple

KEY = "k3y-that-nobody-sees"
QUERY = "C++ & 100% 日本?"
BLOG, SHOP, WIKI = "https://blog.example/a", "https://shop.example/b?c=1&d", "https://wiki.example/"
ALL = frozenset({"country", "city", "language"})


class Found(NamedTuple):
    """A source as a capture is to have it."""

    url: str
    title: str | None
    quote: str | None
    role: str = "cited"


class Serp(NamedTuple):
    """A preset's contract: its call for `QUERY` from Taipei, and its replies.

    `failed` are replies of status 200 that tell of a failure. `told` are the parts of a region that
    the API can be told.
    """

    preset: str
    path: str
    params: dict[str, str]
    body: Any
    authorization: str | None
    found: dict[str, Any]
    text: str
    sources: tuple[Found, ...]
    nothing: dict[str, Any]
    failed: tuple[dict[str, Any], ...]
    told: frozenset[str]


def every() -> tuple[Serp, ...]:
    """One for each preset of a SERP API."""
    return (*_serpapi(), *_searchapi(), *_dataforseo())


def _serpapi() -> tuple[Serp, ...]:
    """serpapi.com: /bing-copilot-api, /google-ai-mode-api, /google-news-api, /organic-results.

    Their errors: /search-errors. A search that finds nothing is a success, with an `error` too.
    """
    place = {"location": "Taipei, Taiwan", "gl": "tw", "hl": "zh-tw"}
    pages = [
        {"index": 0, "title": "Blog", "link": BLOG, "snippet": "As the blog says.", "source": "B"},
        {"index": 1, "title": "Shop", "link": SHOP, "source": "S"},
    ]
    cited = (Found(BLOG, "Blog", "As the blog says."), Found(SHOP, "Shop", None))
    return (
        _of_serpapi(
            "copilot",
            "bing_copilot",
            {},
            found={
                "header": "Both are good",
                "text_blocks": [
                    {"type": "paragraph", "snippet": "One is older.", "reference_indexes": [0]},
                    {
                        "type": "list",
                        "list": [
                            {"snippet": "It is fast."},
                            {"snippet": "It is safe:", "list": [{"snippet": "mostly."}]},
                        ],
                    },
                    {"type": "code_block", "language": "c++", "code": "int main() {}"},
                ],
                "references": pages,
            },
            text="Both are good\n\nOne is older.\n\nIt is fast.\n\nIt is safe:\n\nmostly."
            "\n\nint main() {}",
            sources=cited,
            told=frozenset(),
        ),
        _of_serpapi(
            "google_ai_mode",
            "google_ai_mode",
            place,
            found={
                "text_blocks": [
                    {"type": "paragraph", "snippet": "Both are good.", "reference_indexes": [0]}
                ],
                "references": pages,
                "reconstructed_markdown": "Both are **good**.\n\n- fast\n- safe",
            },
            text="Both are good.\n\n- fast\n- safe",
            sources=cited,
            told=ALL,
        ),
        _of_serpapi(
            "google_news",
            "google_news",
            {"gl": "tw", "hl": "zh-tw"},
            found={
                "news_results": [
                    {"position": 1, "title": "Blog", "link": BLOG, "source": {"name": "B"}},
                    {
                        "position": 2,
                        "highlight": {"title": "Shop", "link": SHOP},
                        "stories": [{"title": "Wiki", "link": WIKI}],
                    },
                ]
            },
            text="Blog\n\nShop\n\nWiki",
            sources=(
                Found(BLOG, "Blog", None, "retrieved"),
                Found(SHOP, "Shop", None, "retrieved"),
                Found(WIKI, "Wiki", None, "retrieved"),
            ),
            told=ALL - {"city"},
        ),
        _of_serpapi(
            "google_search",
            "google",
            place,
            found={
                "search_information": {"organic_results_state": "Results for exact spelling"},
                "organic_results": [
                    {"position": 1, "title": "Blog", "link": BLOG, "snippet": "As it says."},
                    {"position": 2, "title": "Shop", "link": SHOP},
                ],
            },
            text="Blog: As it says.\n\nShop",
            sources=(
                Found(BLOG, "Blog", "As it says.", "retrieved"),
                Found(SHOP, "Shop", None, "retrieved"),
            ),
            told=ALL,
        ),
    )


def _of_serpapi(
    surface: str,
    engine: str,
    place: dict[str, str],
    *,
    found: dict[str, Any],
    text: str,
    sources: tuple[Found, ...],
    told: frozenset[str],
) -> Serp:
    def reply(status: str, **rest: Any) -> dict[str, Any]:
        searched = {"id": "64c32cfeb68f8bc186aaa013", "status": status}
        return {"search_metadata": searched, "search_parameters": {"engine": engine}, **rest}

    return Serp(
        preset=f"serpapi_{surface}",
        path="/search.json",
        params={"engine": engine, "q": QUERY, "api_key": KEY, **place},
        body=None,
        authorization=None,
        found=reply("Success", **found),
        text=text,
        sources=sources,
        nothing=reply("Success", error="Google hasn't returned any results for this query."),
        failed=(
            reply("Error", error="We couldn't get valid results for this search."),
            reply("Processing"),
            {"error": "Missing query `q` parameter."},
        ),
        told=told,
    )


def _searchapi() -> tuple[Serp, ...]:
    """www.searchapi.io/docs: /bing-copilot-api, /google-ai-mode-api, and the OpenAPI of both."""
    return (
        _of_searchapi("copilot", "bing_copilot", {}, frozenset()),
        _of_searchapi(
            "google_ai_mode",
            "google_ai_mode",
            {"location": "Taipei, Taiwan"},
            frozenset({"country", "city"}),
        ),
    )


def _of_searchapi(surface: str, engine: str, place: dict[str, str], told: frozenset[str]) -> Serp:
    searched = {"id": "search_1", "status": "Success"}
    return Serp(
        preset=f"searchapi_{surface}",
        path="/api/v1/search",
        params={"engine": engine, "q": QUERY, **place},
        body=None,
        authorization=f"Bearer {KEY}",
        found={
            "search_metadata": searched,
            "search_parameters": {"engine": engine, "q": QUERY},
            "text_blocks": [{"type": "paragraph", "answer": "Both are good."}],
            "markdown": "# Both\n\nBoth are *good*.",
            "reference_links": [
                {"index": 1, "title": "Blog", "link": BLOG, "source": "B", "snippet": "It says."},
                {"index": 2, "title": "Shop", "link": SHOP, "source": "S"},
            ],
        },
        text="Both\n\nBoth are good.",
        sources=(Found(BLOG, "Blog", "It says."), Found(SHOP, "Shop", None)),
        nothing={"search_metadata": searched, "error": "Google didn't return any results."},
        failed=({"error": "The API key is invalid."},),
        told=told,
    )


def _dataforseo() -> tuple[Serp, ...]:
    """docs.dataforseo.com/v3/serp/google/: ai_mode, organic and news, each live/advanced.

    Its errors: /v3/appendix/errors. 40102 is that the search found nothing.
    """
    references = [
        {
            "type": "ai_overview_reference",
            "source": "B",
            "domain": "blog.example",
            "url": BLOG,
            "title": "Blog",
            "text": "As the blog says.",
        },
        {"type": "ai_overview_reference", "url": SHOP, "title": "Shop", "text": None},
    ]
    overview = {
        "type": "ai_overview",
        "rank_group": 1,
        "rank_absolute": 1,
        "markdown": "Both are **good**.",
        "items": [{"type": "ai_overview_element", "text": "Both are good."}],
        "references": references,
    }
    more = {"type": "ai_overview", "rank_group": 2, "markdown": "One is *older*.", "items": None}
    blog = {"type": "organic", "rank_group": 1, "url": BLOG, "title": "Blog", "domain": "b"}
    shop = {"type": "organic", "rank_group": 2, "url": SHOP, "title": "Shop", "description": None}
    cited = (Found(BLOG, "Blog", "As the blog says."), Found(SHOP, "Shop", None))
    shown = (
        Found(BLOG, "Blog", "It says.", "retrieved"),
        Found(SHOP, "Shop", None, "retrieved"),
    )
    stories = {
        "type": "top_stories",
        "title": "Top stories",
        "items": [{"type": "top_stories_element", "title": "Blog", "url": BLOG, "source": "B"}],
    }
    news = {"type": "news_search", "title": "Shop", "url": SHOP, "snippet": "It sells."}
    organic = [{**blog, "description": "It says."}, shop, {"type": "related_searches"}]
    asynchronous = {"load_async_ai_overview": True}
    return (
        _of_dataforseo("ai_mode", "ai_mode", {}, items=[overview, more], text=_TEXT, sources=cited),
        _of_dataforseo(
            "ai_overview",
            "organic",
            asynchronous,
            items=[*organic, overview, more],
            text=_TEXT,
            sources=cited,
        ),
        _of_dataforseo(
            "search",
            "organic",
            {},
            items=[overview, *organic],
            text="Blog: It says.\n\nShop",
            sources=shown,
        ),
        _of_dataforseo(
            "news",
            "news",
            {},
            items=[stories, news],
            text="Blog\n\nShop: It sells.",
            sources=(
                Found(BLOG, "Blog", None, "retrieved"),
                Found(SHOP, "Shop", "It sells.", "retrieved"),
            ),
        ),
    )


_TEXT = "Both are good.\n\nOne is older."


def _of_dataforseo(
    surface: str,
    kind: str,
    extra: dict[str, Any],
    *,
    items: list[Any],
    text: str,
    sources: tuple[Found, ...],
) -> Serp:
    def reply(code: int, tasks: list[Any] | None, message: str = "Ok.") -> dict[str, Any]:
        return {
            "version": "0.1.20260717",
            "status_code": code,
            "status_message": message,
            "time": "4.1 sec.",
            "cost": 0.004,
            "tasks_count": len(tasks or ()),
            "tasks_error": 0,
            "tasks": tasks,
        }

    def task(code: int, message: str, result: list[Any] | None) -> dict[str, Any]:
        return {
            "id": "07231252-7652-0139-0000-301b3ccdda6f",
            "status_code": code,
            "status_message": message,
            "time": "4.0 sec.",
            "cost": 0.004,
            "result_count": len(result or ()),
            "path": ["v3", "serp", "google", kind, "live", "advanced"],
            "data": {"api": "serp", "function": "live", "se": "google"},
            "result": result,
        }

    result = {
        "keyword": QUERY,
        "type": kind,
        "se_domain": "google.com.tw",
        "location_code": 2158,
        "language_code": "zh-TW",
        "item_types": sorted({item["type"] for item in items}),
        "items_count": len(items),
        "items": items,
    }
    asked = {"keyword": "C%2B%2B & 100%25 日本?", "location_code": 2158, "language_code": "zh-TW"}
    return Serp(
        preset=f"dataforseo_google_{surface}",
        path=f"/v3/serp/google/{kind}/live/advanced",
        params={},
        body=[asked | extra],
        authorization=f"Basic {KEY}",
        found=reply(20000, [task(20000, "Ok.", [result])]),
        text=text,
        sources=sources,
        nothing=reply(20000, [task(40102, "No Search Results.", None)]),
        failed=(
            reply(20000, [task(40101, "Internal SE Server Error.", None)]),
            reply(40200, None, "Payment Required."),
        ),
        told=ALL - {"city"},
    )
