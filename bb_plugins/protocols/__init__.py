"""First-party Protocols."""
