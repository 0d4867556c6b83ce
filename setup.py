"""Build the compiled modules; everything else about the package is in pyproject.toml.

Switches, read from the environment:

* `BB_DEBUG=1`: assertions, line tracing and annotated HTML in build/cython;
* `BB_SANITIZE=1`: address and undefined-behaviour sanitizers.
"""

import os
import sys

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("BB_DEBUG") == "1"
SANITIZE = os.environ.get("BB_SANITIZE") == "1"

# Module -> C files compiled into it. A third module needs a decision record with numbers (docs/decisions).
EXTENSIONS = {
    "bb_core.wire._codec": ["csrc/bb_envelope.c"],
    "bb_core.engine._dispatch": ["csrc/bb_frontier.c"],
    "bb_plugins.backends.cpu.plans._machine": [],
}


def _flags() -> tuple[list[str], list[str], list[tuple[str, str | None]]]:
    if sys.platform == "win32":
        return (["/Od", "/Zi"] if DEBUG else ["/O2"]), [], []
    compile_flags = ["-O0", "-g"] if DEBUG else ["-O3"]
    # Hidden: a call inside a module goes straight to its function; only the module's entry is for others. No vectors of
    # two words: what has just been stored as two would be loaded as one, and wait for both stores to end.
    compile_flags += [
        "-fvisibility=hidden",
        "-fno-tree-slp-vectorize",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
    ]
    link_flags: list[str] = []
    if SANITIZE:
        compile_flags += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
        link_flags += ["-fsanitize=address,undefined"]
    macros: list[tuple[str, str | None]] = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
    macros += [("CYTHON_TRACE", "1")] if DEBUG else []
    return compile_flags, link_flags, macros


def extensions() -> list[Extension]:
    """Make one Extension for each row of the table."""
    compile_flags, link_flags, macros = _flags()
    return [
        Extension(
            name,
            [name.replace(".", "/") + ".pyx", *sources],
            include_dirs=["csrc", np.get_include()],
            extra_compile_args=compile_flags,
            extra_link_args=link_flags,
            define_macros=macros,
        )
        for name, sources in EXTENSIONS.items()
    ]


if __name__ == "__main__":
    setup(
        ext_modules=cythonize(
            extensions(),
            build_dir="build/cython",
            annotate=DEBUG,
            force=DEBUG,  # what Cython has made without the switch would pass for current
            compiler_directives={"language_level": 3, "linetrace": DEBUG},
        )
    )
