"""How Envelopes get from one asyncio host to another: TCP, TLS, and memory within one process."""
