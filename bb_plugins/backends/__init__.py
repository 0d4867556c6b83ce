"""First-party Backends."""
