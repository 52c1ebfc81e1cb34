"""Well-known surfaces, and what captures each: an adapter, or presets of the `http` adapter."""

from collections.abc import Mapping

ADAPTERS: Mapping[str, str] = {
    "chatgpt": "openai",
    "claude": "anthropic",
    "perplexity": "perplexity",
    "gemini": "gemini",
    "grok": "xai",
}
PRESETS: Mapping[str, tuple[str, ...]] = {
    "copilot": ("serpapi_copilot", "searchapi_copilot"),
    "google_ai_mode": (
        "serpapi_google_ai_mode",
        "searchapi_google_ai_mode",
        "dataforseo_google_ai_mode",
    ),
    "google_ai_overview": ("dataforseo_google_ai_overview",),
    "google_search": ("serpapi_google_search", "dataforseo_google_search"),
    "google_news": ("serpapi_google_news", "dataforseo_google_news"),
}
KEYS: Mapping[str, str] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "perplexity": "PERPLEXITY_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "xai": "XAI_API_KEY",
    "serpapi": "SERPAPI_API_KEY",
    "searchapi": "SEARCHAPI_API_KEY",
    "dataforseo": "DATAFORSEO_AUTH",
}
"""The environment variable with the key of each adapter, and of each service of presets."""

_SECONDS, _PATIENT_SECONDS = 30.0, 120.0
_PATIENT = frozenset({*ADAPTERS.values(), "openai_compatible"})


def timeout_seconds(adapter: str) -> float:
    """How long an attempt may take where nothing is configured: answers that search take longer."""
    return _PATIENT_SECONDS if adapter in _PATIENT else _SECONDS


def service(preset: str) -> str:
    """Whose API a preset calls: what its name begins with."""
    return preset.partition("_")[0]


def how(surface: str) -> str | None:
    """How a surface of this name is configured, for people; None for one that nobody knows."""
    if adapter := ADAPTERS.get(surface):
        return f'adapter = "{adapter}"'
    if presets := PRESETS.get(surface):
        named = " or ".join(f'"{preset}"' for preset in presets)
        return f'adapter = "http" with options.preset = {named}'
    return None
