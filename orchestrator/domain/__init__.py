"""What a job is: pure records and decisions, without any IO."""
