import json
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from workers.adapters.http_template import PLACEHOLDERS, BodyTemplate, UrlTemplate, header

words = st.text() | st.sampled_from(["..", ".", "{country}", "a/b?c#d&e=f+g%20", "\r\nX: y", "\\"])
values = st.fixed_dictionaries(dict.fromkeys(PLACEHOLDERS, words))


@given(values)
def test_a_url_keeps_its_shape(filled):
    """No value adds a path segment, a parameter or a fragment, nor changes host or port."""
    url = UrlTemplate("http://h.example:81/a/{query}/b-{city}?q={query}&cc={country}#{language}")
    parts = urlsplit(url.fill(filled))
    assert (parts.scheme, parts.netloc) == ("http", "h.example:81")
    assert parts.path.count("/") == 3
    read = parse_qs(parts.query, keep_blank_values=True, strict_parsing=True)
    assert read == {"q": [filled["query"]], "cc": [filled["country"]]}
    sent = URL(url.fill(filled), encoded=True)
    assert unquote(sent.raw_path.split("/")[2]).strip(" ") == filled["query"].strip(" ")


@given(values)
def test_no_value_climbs(filled):
    """However a client resolves the URL, it stays below the path it was given."""
    url = UrlTemplate("http://h.example/only/{query}{city}/{country}?{language}").fill(filled)
    assert URL("http://h.example/").join(URL(url)).raw_path.startswith("/only/")


@given(values)
def test_a_body_holds_the_values(filled):
    """A JSON body is the template with the values in its strings, whatever they contain."""
    template = {"q": "{query}", "l": ["{city}-{language}", 1, None], "{query}": "{unknown} {"}
    sent = json.loads(msgspec.json.encode(BodyTemplate(template).fill(filled)))
    assert sent == {
        "q": filled["query"],
        "l": [f"{filled['city']}-{filled['language']}", 1, None],
        "{query}": "{unknown} {",
    }


@given(values)
def test_a_header_stays_one_line_of_ascii(filled):
    """No value breaks out of a header."""
    value = header("id={query}; in={country}").fill(filled)
    assert value.isascii()
    assert value.isprintable()


def test_lone_surrogates_do_not_stop_a_call():
    """Half a character is sent as a question mark."""
    filled = dict.fromkeys(PLACEHOLDERS, "a\ud800")
    assert UrlTemplate("http://h/?q={query}").fill(filled) == "http://h/?q=a%3F"
    assert BodyTemplate({"q": "{query}"}).fill(filled) == {"q": "a?"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{query}", "scheme, host or port"),
        ("{query}://h/", "scheme, host or port"),
        ("http{language}://h/", "scheme, host or port"),
        ("http://{country}.example/", "scheme, host or port"),
        ("http://h.example{query}", "scheme, host or port"),
        ("http://h:{query}/", "scheme, host or port"),
        ("http://{query}@h/", "scheme, host or port"),
        ("http://h{anything}/", "scheme, host or port"),
        ("http://h\\{query}", "begins with http"),
        ("http:/h/{query}", "begins with http"),
        ("//h/{query}", "begins with http"),
        ("ftp://h/{query}", "begins with http"),
        ("http:///x", "begins with http"),
        ("http://u:p@h/{query}", "credentials"),
        ("http://h/?q={querry}", "unknown placeholder"),
        ("http://h/a b", "spaces"),
        ("http://h/\n", "spaces"),
        ("http://h:99999/", "can be called"),
    ],
)
def test_a_url_that_cannot_be_called_is_refused(text, reason):
    """A placeholder in scheme, host or port, and anything that is no URL, stops the start."""
    with pytest.raises(ValueError, match=reason):
        UrlTemplate(text)
