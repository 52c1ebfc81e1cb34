"""Who does the work: claiming, running, retrying, rescuing, and the adapters that capture."""
