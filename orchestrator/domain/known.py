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


def how(surface: str) -> str | None:
    """How a surface of this name is configured, for people; None for one that nobody knows."""
    if adapter := ADAPTERS.get(surface):
        return f'adapter = "{adapter}"'
    if presets := PRESETS.get(surface):
        named = " or ".join(f'"{preset}"' for preset in presets)
        return f'adapter = "http" with options.preset = {named}'
    return None
