"""The OpenAPI document: exported, complete and true."""

import json
from pathlib import Path

import jsonschema
import pytest
from litestar.routes import ASGIRoute, HTTPRoute

from orchestrator.api import openapi
from orchestrator.api.app import create_app
from orchestrator.api.codes import STATUSES, Code
from orchestrator.settings import Settings

EXPORTED = Path(__file__).parents[2] / "openapi" / "openapi.json"
DOCUMENT = json.loads(openapi.text())


def resolve(reference: str):
    part = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def references(part) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in references(value)]
    return [found for item in part for found in references(item)] if isinstance(part, list) else []


def contents():
    """Each described body, with a name for the test's report."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                for media, content in response["content"].items():
                    yield pytest.param(content, id=f"{method} {path} {status} {media}")


def test_the_exported_document_is_the_one_that_is_served():
    """`parallax openapi > openapi/openapi.json` after a change of the API, and commit it."""
    assert EXPORTED.read_text() == openapi.text()


def test_the_document_has_every_route_and_no_other():
    """A path or method without a description, or described and not served, is a drift."""
    app = create_app(Settings(database_url="postgresql:///none"))
    served = {
        (method.lower(), route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    } | {("post", route.path_format) for route in app.routes if isinstance(route, ASGIRoute)}
    described = {
        (method, path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert described == served


def test_every_code_is_described_somewhere():
    """Each error code a client may meet has an operation that names it, at its status."""
    told = {
        (int(status), name)
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        for name in response["content"]["application/json"].get("examples", {})
        if name.isupper()
    }
    anywhere = {Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED}  # of the server, not of an operation
    assert told == {(STATUSES[code].value, code.value) for code in Code if code not in anywhere}


def test_every_reference_leads_somewhere():
    """No `$ref` dangles."""
    assert all(resolve(reference) for reference in references(DOCUMENT))


@pytest.mark.parametrize("content", list(contents()))
def test_every_example_fits_its_schema(content):
    """What the document shows is what its schemas allow."""
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    for example in content.get("examples", {}).values():
        jsonschema.validate(resolve(example["$ref"])["value"], schema)


def test_the_example_submission_fits_its_schema():
    """So does the body of a submission, and one with both query and prompt does not."""
    content = DOCUMENT["paths"]["/v1/search"]["post"]["requestBody"]["content"]["application/json"]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    jsonschema.validate(content["example"], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content["example"] | {"prompt": "too"}, schema)


def test_every_response_has_the_common_headers():
    """X-Request-ID and X-Parallax-Version everywhere, the rate wherever a key was."""
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                assert {"X-Request-ID", "X-Parallax-Version"} <= response["headers"].keys()
                keyed = bool(operation["security"]) and status != "401"
                assert ("X-RateLimit-Limit" in response["headers"]) is keyed


def test_the_version_is_the_distributions():
    """The API says the version that `pyproject.toml` does."""
    pyproject = (EXPORTED.parents[1] / "pyproject.toml").read_text()
    assert f'version = "{openapi.VERSION}"' in pyproject
    assert json.loads(EXPORTED.read_text())["info"]["version"] == openapi.VERSION
