"""What need not survive a crash of the database is committed without waiting for its disk."""

UNFLUSHED = """
SET LOCAL synchronous_commit = off
"""
"""For transactions that end nothing and tell nobody that something is stored."""
