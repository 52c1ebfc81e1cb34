"""Servers that speak the contracts of answer engines.

What they say and what they are asked is held against the types of the providers' own packages: a
field that those do not have is a mistake here.
"""

from tests.workers.fakes import anthropic, compatible, gemini, openai, perplexity, xai
from tests.workers.fakes.saying import Fake

FAKES: dict[str, Fake] = {
    fake.adapter: fake
    for fake in (
        openai.FAKE,
        anthropic.FAKE,
        perplexity.FAKE,
        gemini.FAKE,
        xai.FAKE,
        compatible.FAKE,
    )
}
PRICED = {
    "openai": "gpt-5",
    "anthropic": "claude-sonnet-4-5",
    "perplexity": "sonar",
    "gemini": "gemini-2.5-flash",
    "xai": "grok-4",
    "openai_compatible": "gpt-4o",
}
"""A model of each whose prices are published."""
