"""The compiler: eighteen passes from a recorded program to a stamped artefact."""

from bb_core.compiler.driver import Compiler

__all__ = ["Compiler"]
