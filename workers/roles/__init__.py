"""The roles of a worker, each one `step` in the one loop; none knows another."""
