"""First-party Codecs."""
