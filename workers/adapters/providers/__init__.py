"""Adapters over the official APIs of answer engines, one module a provider.

Each says what to send and how to read what comes back, in the terms of `contract`; what they have
in common is in `answering`.
"""
