"""Observers of Nodes, behind extras."""
