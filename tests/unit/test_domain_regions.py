import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.regions import Region, tokens

countries = st.sampled_from(["US", "GB", "DE", "CN"])
words = st.text(max_size=100) | st.sampled_from(["New York", "new-york", "new york 2", "", "-2"])
regions = st.builds(Region, country=countries, city=st.none() | words, language=st.none() | words)


@given(st.lists(regions, max_size=50))
def test_tokens_are_distinct_in_a_parent(asked):
    """Whatever the regions, each has a token of its own that fits into a child id."""
    made = tokens(asked)
    assert len(made) == len(asked)
    assert len(set(made)) == len(asked)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,255}", token) for token in made)
    assert all(
        token.startswith(region.country.lower()) for token, region in zip(made, asked, strict=True)
    )


@given(st.lists(regions, max_size=20))
def test_tokens_depend_on_what_came_before_only(asked):
    """A region's token is the same however many follow it."""
    made = tokens(asked)
    assert all(tokens(asked[:n]) == made[:n] for n in range(len(asked)))


@pytest.mark.parametrize(
    ("region", "token"),
    [
        (Region("US"), "us"),
        (Region("US", "New York"), "us_new-york"),
        (Region("US", "New York", "en"), "us_new-york_en"),
        (Region("US", None, "en"), "us__en"),
        (Region("DE", "Köln"), "de_koln"),
        (Region("CN", "北京"), "cn_bei-jing"),
        (Region("US", "???"), "us_-2"),
        (Region("US", None, "pt-BR"), "us__pt-br"),
    ],
)
def test_the_token_says_country_city_and_language(region, token):
    """Country in lower case, then the city's slug, then the language; slugs are ASCII."""
    assert tokens([region]) == (token,)


def test_clashes_are_numbered_in_cell_order():
    """Two cities with one slug, or none, get -2, -3 in order and never another region's token."""
    same = [Region("US", "New York"), Region("US", "new york"), Region("US", "New-York!")]
    assert tokens(same) == ("us_new-york", "us_new-york-2", "us_new-york-3")
    crossed = [Region("US", "New York 2"), Region("US", "New York"), Region("US", "NEW YORK")]
    assert tokens(crossed) == ("us_new-york-2", "us_new-york", "us_new-york-3")
    nameless = [Region("US", "???"), Region("US", "!!!"), Region("US")]
    assert tokens(nameless) == ("us_-2", "us_-3", "us")


def test_regions_are_equal_as_a_reader_sees_them():
    """City and language are compared case-folded and in one Unicode form."""
    assert Region("DE", "KÖLN").identity == Region("DE", "Ko\u0308ln").identity
    assert Region("DE", "Strasse").identity == Region("DE", "Straße").identity
    assert Region("DE", None, "EN").identity == Region("DE", None, "en").identity
    assert Region("DE", "Köln").identity != Region("DE", "Köln", "de").identity
    assert Region("DE", "").identity != Region("DE").identity
