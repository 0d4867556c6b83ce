"""Ops: what the framework declares, one OpSpec each."""
