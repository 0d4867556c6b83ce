"""Bytes between Nodes: Envelopes, the values in them, addresses, and limits. docs/reference/wire.md describes them."""
