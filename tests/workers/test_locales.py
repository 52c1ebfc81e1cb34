"""The language of a place, the words for it, and what is said when an upstream is not told."""

import re

import pycountry
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.surfaces import RegionConfig, SurfaceConfig
from workers.adapters import base, http, locales, places
from workers.adapters.base import CaptureRequest
from workers.adapters.http_template import PLACEHOLDERS

COUNTRIES = tuple(country.alpha_2 for country in pycountry.countries)
countries = st.sampled_from(COUNTRIES)
tags = st.from_regex(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}", fullmatch=True)
languages = st.none() | tags | st.text(max_size=40) | st.sampled_from(["en\r\nX: y", "de;q=1", "é"])
BATH = "country GB, city Bath"
_HEADER = re.compile(r"([A-Za-z0-9-]{2,35}),([a-z]{2,8});q=0\.9")


def asked(country="GB", city=None, language=None, query="tea"):
    return CaptureRequest(
        child="job_1.s.gb",
        query=query,
        surface="s",
        country=country,
        city=city,
        language=language,
    )


@given(countries, languages)
def test_every_country_and_language_make_a_header(country, language):
    """`Accept-Language` is a tag and its language, or nothing: never what breaks a header."""
    header = locales.accept_language(country, language)
    assert not header or _HEADER.fullmatch(header)
    if language is not None and re.fullmatch(r"[A-Za-z]{2,8}", language):
        assert header == f"{language.lower()}-{country},{language.lower()};q=0.9"


@given(countries, languages, languages)
def test_every_placeholder_has_words(country, language, own):
    """Each country can be named, numbered and spoken to, whatever language it is asked in."""
    said = locales.values(asked(country, language=language), own)
    assert set(said) == set(PLACEHOLDERS)
    assert said["country_name"]
    assert said["country_name"].isprintable()
    assert said["google_country"] == str(
        2000 + int(pycountry.countries.get(alpha_2=country).numeric)
    )
    assert said["language"] == (language or own or "")
    for name in ("primary_language", "written_language", "google_language"):
        assert re.fullmatch(r"[A-Za-z]{2,8}(-[A-Za-z]{2})?|", said[name])


@pytest.mark.parametrize(
    ("country", "language", "written", "google"),
    [
        ("GB", None, "en", "en"),
        ("US", "pt-BR", "pt", "pt"),
        ("TW", None, "zh-TW", "zh-tw"),
        ("HK", None, "zh-TW", "zh-tw"),
        ("CN", None, "zh-CN", "zh-cn"),
        ("SG", "zh", "zh-CN", "zh-cn"),
        ("HK", "zh-Hans-HK", "zh-CN", "zh-cn"),
        ("GB", "zh-Hant", "zh-TW", "zh-tw"),
        ("NO", None, "nb", "no"),
        ("IL", None, "he", "iw"),
        ("PH", None, "fil", "tl"),
        ("AQ", None, "", ""),
    ],
)
def test_languages_as_apis_call_them(country, language, written, google):
    """Chinese by its script, and the few that Google's `hl` calls otherwise than ISO 639."""
    said = locales.values(asked(country, language=language), None)
    assert (said["written_language"], said["google_language"]) == (written, google)


@pytest.mark.parametrize(
    ("country", "name"),
    [
        ("GB", "United Kingdom"),
        ("HK", "Hong Kong"),
        ("TT", "Trinidad and Tobago"),
        ("CI", "Côte d'Ivoire"),
    ],
)
def test_a_place_is_called_what_everybody_calls_it(country, name):
    """The country in plain English, with the city before it."""
    assert locales.values(asked(country), None)["place"] == name
    assert locales.values(asked(country, city="Bath"), None)["place"] == f"Bath, {name}"


def test_a_query_is_escaped_for_an_api_that_decodes_it():
    """What is decoded once more is the query again."""
    assert locales.values(asked(query="C++ 100%20"), None)["query_escaped"] == "C%2B%2B 100%2520"


async def headers_of(serve, regions, **request):
    """What the `http` adapter sends from Great Britain, and what it is warned of."""
    seen = []

    async def handler(request):
        seen.append((request.query.get("l"), request.headers.get("Accept-Language")))
        return web.Response(text="tea")

    options = {"url": await serve(handler) + "/?l={locale}&cc={country}", "format": "text"}
    adapter = http.build(SurfaceConfig(name="s", adapter="http", options=options, regions=regions))
    capture = (await base.run(adapter, asked(**request), timeout_seconds=30)).capture
    await adapter.close()
    return seen[0], capture.warnings


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("language", "own", "tag", "header"),
    [
        (None, None, "en-GB", "en-GB,en;q=0.9"),
        (None, "cy", "cy-GB", "cy-GB,cy;q=0.9"),
        (None, "fr-CA", "fr-CA", "fr-CA,fr;q=0.9"),
        ("gd", "cy", "gd-GB", "gd-GB,gd;q=0.9"),
    ],
)
async def test_a_region_has_a_language_of_its_own(serve, language, own, tag, header):
    """The language that is asked for wins over the region's `locale`, that over the country's."""
    regions = {"GB": RegionConfig(locale=own)}
    assert await headers_of(serve, regions, language=language) == ((tag, header), ())


@given(st.sets(st.sampled_from(PLACEHOLDERS)))
def test_a_part_is_told_by_any_of_its_placeholders(names):
    """Country, city and language each have theirs; the query tells nothing of a place."""
    told = places.told(names)
    assert ("city" in told) is bool(names & {"city", "place"})
    assert not told or names - {"query", "query_escaped"}
    for part in ("country", "language"):
        assert part in places.told(names | {part})


def test_every_placeholder_tells_something():
    """But for the query's own, so that none is forgotten when one is added."""
    silent = {name for name in PLACEHOLDERS if not places.told([name])}
    assert silent == {"query", "query_escaped"}


@pytest.mark.parametrize(
    ("heard", "effective", "message"),
    [
        (
            ["country"],
            "GB",
            "the upstream was not told of city Bath, language cy: the answer is as seen from GB",
        ),
        (
            ["language"],
            None,
            f"the upstream was not told of {BATH}: the answer is as seen from where it is",
        ),
        (["country", "city", "language"], "GB", None),
    ],
)
def test_what_an_upstream_is_not_told_is_warned_of(heard, effective, message):
    """`region_broadened` names each part that was asked for, and from where the answer is."""
    request = asked(city="Bath", language="cy")
    warnings = tuple(places.broadened(effective, places.unheard(request, heard)))
    assert [(one.code, one.message) for one in warnings] == (
        [("region_broadened", message)] if message else []
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "regions", "told"),
    [
        ({"format": "text"}, {}, {"language"}),
        ({"format": "text"}, {"GB": RegionConfig(proxy="@")}, {"language", "country"}),
        (
            {"format": "text"},
            {"GB": RegionConfig(headers={"X-Geo": "gb"})},
            {"language", "country"},
        ),
        ({"text": "t"}, {}, set()),
        ({"text": "t", "headers": {"Accept-Language": "{locale}"}}, {}, {"language"}),
        ({"text": "t", "body": {"near": ["{place}"]}}, {}, {"country", "city"}),
    ],
)
async def test_what_a_call_tells(serve, options, regions, told):
    """URL, headers and body tell by placeholders; a region's proxy or headers are its country's.

    `Accept-Language` tells a page, and not an API, which passes it to nobody.
    """

    async def handler(request):
        return web.json_response({"t": "tea"})

    home = await serve(handler)
    where = {
        country: RegionConfig(proxy=region.proxy and home, headers=region.headers)
        for country, region in regions.items()
    }
    config = SurfaceConfig(
        name="s", adapter="http", options={"url": home + "/", **options}, regions=where
    )
    adapter = http.build(config)
    request = asked(city="Bath", language="cy")
    capture = (await base.run(adapter, request, timeout_seconds=30)).capture
    await adapter.close()
    effective = "GB" if "country" in told else None
    assert capture.provenance.region.effective == effective
    assert capture.warnings == tuple(places.broadened(effective, places.unheard(request, told)))
