"""First-party hosts: what gives Nodes bytes and time, and does what their Steps say."""
