"""The engine: what runs inside a Node. Users see it through `bb_core.node` alone."""
