"""The package version, in one place."""

__version__ = "0.1.0"

ARTEFACT_FORMAT = 1
"""Version of the compiled artefact's form; install refuses any other."""
