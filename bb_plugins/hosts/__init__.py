"""What gives Nodes bytes and the time, and does what their Steps say."""
