"""Sphinx's configuration. `docs/make_site.py` prepares the sources and runs it: `make site`."""

from __future__ import annotations

from typing import Any

from bb_core.version import __version__

project = "bytesandbrains"
author = "the bytesandbrains authors"
copyright = author  # noqa: A001  # the name that Sphinx reads
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["errors/cases", "gallery/*.py", "gallery/*.ipynb", "examples"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "code"

html_theme = "furo"
html_title = f"bytesandbrains {version}"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
pygments_style = "friendly"

myst_enable_extensions = ["colon_fence", "strikethrough"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_mock_imports: list[str] = []
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Shape", "params_style"), ("Lifecycle", "notes_style")]

sphinx_gallery_conf: dict[str, Any] = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "plot_gallery": True,  # every example is run, and what it prints is shown
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 3600,
    "write_computation_times": False,
    "show_signature": False,
}
suppress_warnings = ["config.cache"]  # the gallery's table holds what cannot be kept between two builds
