"""What an answer cost, as far as it can be told: an estimate, never a bill."""

from functools import lru_cache
from typing import Annotated, NamedTuple

from genai_prices import Usage, calc_price
from pydantic import Field

from orchestrator.configured import Table
from orchestrator.domain.envelope import Cost, TokenUsage

_MILLION = 1_000_000
_THOUSAND = 1_000
_PLACES = 8


class Prices(Table):
    """`prices` of a surface: what a million tokens cost, and a thousand searches."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    search: Annotated[float, Field(ge=0)] = 0.0
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"


class Spent(NamedTuple):
    """What a reply says of its own cost; `amount` is in US dollars, of providers that name one.

    `searches` are those that are paid for; `cached` are input tokens that cost less.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    searches: int = 0
    amount: float | None = None
    cached: int = 0


def usage(provider: str, model: str, spent: Spent, prices: Prices | None) -> TokenUsage:
    """The tokens, and what they cost: as the provider says, else as configured, else as published.

    Published prices, of tokens and searches, are those the package `genai-prices` knows; of
    another model the cost is null.
    """
    return TokenUsage(
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        estimated_cost=_cost(provider, model, spent, prices),
    )


def _cost(provider: str, model: str, spent: Spent, prices: Prices | None) -> Cost:
    if spent.amount is not None:
        return Cost(amount=round(spent.amount, _PLACES), currency="USD")
    if spent.input_tokens is None or spent.output_tokens is None:
        return Cost()
    if prices is not None:
        tokens = spent.input_tokens * prices.input + spent.output_tokens * prices.output
        amount = tokens / _MILLION + spent.searches * prices.search / _THOUSAND
        return Cost(amount=round(amount, _PLACES), currency=prices.currency)
    return _published(provider, model, spent)


def _published(provider: str, model: str, spent: Spent) -> Cost:
    if not _known(provider, model):
        return Cost()
    try:
        used = Usage(
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cache_read_tokens=spent.cached,
            web_searches=spent.searches,
        )
        found = calc_price(used, model_ref=model, provider_id=provider)
    except ValueError:  # numbers that cannot be
        return Cost()
    return Cost(amount=round(float(found.total_price), _PLACES), currency="USD")


@lru_cache(maxsize=512)
def _known(provider: str, model: str) -> bool:
    """Whether there are prices of this model: those of none are looked for at length."""
    try:
        calc_price(Usage(), model_ref=model, provider_id=provider)
    except LookupError:
        return False
    return True
