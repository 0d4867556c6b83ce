"""What there is to write of one Role."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sketch:
    """The texts of one Role.

    Attributes:
        module: Name of the Concrete's module.
        says: What it does, in a sentence.
        code: The Concrete.
        bench: Its benchmark, a module of `bb bench`.
        test: A test of what is its own.
        traits: What the conformance test declares, as it stands behind the class in the call.
    """

    module: str
    says: str
    code: str
    bench: str
    test: str
    traits: str = ""
