"""First-party PeerSelectors."""
