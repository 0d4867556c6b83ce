"""First-party DataSources, and how to deal data to peers."""
