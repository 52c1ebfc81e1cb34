"""The field for a place that several providers have."""

from workers.adapters.base import CaptureRequest
from workers.adapters.providers.contract import Place

_HEARD = frozenset({"country", "city"})


def approximate(request: CaptureRequest) -> Place:
    """The `user_location` of OpenAI, Anthropic and xAI: a country and a city, and no language."""
    told = {"type": "approximate", "country": request.country}
    if request.city:
        told["city"] = request.city
    return Place(told, _HEARD)
