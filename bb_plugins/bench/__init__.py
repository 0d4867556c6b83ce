"""Benchmarks that ship with the package: each row is a ratio, measured in turns with what it is compared with."""
