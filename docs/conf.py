"""How Sphinx builds the documentation: `make docs`. Nothing is fetched from anywhere while it builds, or is read."""

from __future__ import annotations

import logging
import re
from typing import Any

from sphinx.application import Sphinx

from dynlib.version import VERSION

project = "dynlib"
copyright = "the authors of dynlib, BSD-3-Clause"
version = release = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: "toctree glob pattern" not in record.msg  # a place that is kept for a page to come
)

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

default_role = "py:obj"  # a word in backticks: a link where it is a name of this library, and code in any case
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {name: name for name in ("Array", "ModelLike", "Given", "Values")}
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "dynlib"
html_static_path = ["_static"]
html_css_files = ["dynlib.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_persistent": ["search-field"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "gallery/index": []}


def aliases_by_name(*signature: Any) -> tuple[str | None, ...]:
    """Arguments and result of a signature, with an alias in a union as its name alone."""
    return tuple(text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in signature[-2:])


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", aliases_by_name)
