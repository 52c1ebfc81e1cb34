"""The field for a place that several providers have."""

from workers.adapters.base import CaptureRequest
from workers.adapters.places import unheard
from workers.adapters.providers.answering import Place


def approximate(request: CaptureRequest) -> Place:
    """The `user_location` of OpenAI, Anthropic and xAI: a country and a city, and no language."""
    told = {"type": "approximate", "country": request.country}
    if request.city:
        told["city"] = request.city
    return Place(told, request.country, unheard(request, {"country", "city"}))
