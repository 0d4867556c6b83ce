"""First-party Indexes."""
