"""Approximate nearest neighbours in a navigable graph, searched and built on a thread of its own."""

from bb_hnsw.index import Hnsw

__all__ = ["Hnsw"]
