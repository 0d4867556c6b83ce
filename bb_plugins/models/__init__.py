"""First-party Models."""
