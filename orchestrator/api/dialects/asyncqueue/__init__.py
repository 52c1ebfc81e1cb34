"""AsyncQueue: tasks of one call, listed, read and deleted."""
