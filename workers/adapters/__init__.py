"""Adapters: one module per way to capture a surface, found by entry point.

An adapter is one async function from a request to a capture that raises `SurfaceError`. A package
adds one by an entry point in the group `parallax.adapters` that names a function
`build(config: SurfaceConfig) -> Adapter`, raising `OptionError` for options it cannot use.
"""
