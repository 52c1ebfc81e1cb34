"""Adapters over the official APIs of answer engines, one module a provider.

Each says what to send and how to read what comes back; what is alike is in `answering`.
"""
