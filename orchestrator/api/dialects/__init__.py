"""The dialects: thin translators, so that a client written for another system works with this one.

Each turns its requests into plans and the store's rows into its documents, and has the error shape
of its own paths. Whatever is decided is decided where native requests are decided; a dialect owns
neither state nor rules, and knows nothing of the others. `paths` says which path speaks what.
"""
