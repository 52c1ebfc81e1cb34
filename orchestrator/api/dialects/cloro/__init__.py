"""cloro: tasks of one cell, its monitors, its account."""
