"""First-party Aggregators."""
