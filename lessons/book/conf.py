"""The book's settings for Sphinx, which ``python -m lessons book`` calls."""

import importlib.util
import os
from pathlib import Path

import minidl
from minidl.classroom.book.reference import as_rst
from minidl.figures.saving import alt_text

project = "minidl"
author = copyright = "the authors of minidl"
version = release = minidl.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
]
html_theme = "sphinx_book_theme"
html_title = "minidl: the course"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_copy_source = False
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search stands above the list of pages
    "show_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
exclude_patterns = ["notebooks"]

# Cells are run in the order of the page, in a kernel of their own for each lesson.
nb_execution_mode = os.environ.get("MINIDL_BOOK_RUN", "force")
nb_execution_timeout = 1800  # seconds a cell, on a slow machine with an empty cache
# a cell that fails is a warning, and a warning fails the book
nb_execution_show_tb = True
nb_execution_in_temp = True  # figures go to the page, not beside the sources
nb_output_stderr = "remove"  # bars, which a kernel takes for wanted
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

highlight_language = "none"  # of indented blocks, the formulas; examples are Python
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as the source says them
autodoc_typehints = "signature"
autodoc_use_legacy_class_based = False
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

# One script that needs no other file, no font and no network.
_mathjax = (
    Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    / "static"
    / "mathjax"
)
mathjax_path = "tex-svg-full.js"


def describe_images(app, doctree):
    """Give each figure the text that ``save`` kept in its file."""
    for image in doctree.findall(lambda node: node.tagname == "image"):
        path = Path(app.srcdir, image["uri"])
        if not image.get("alt") and path.suffix == ".png" and path.exists():
            image["alt"] = alt_text(path)


def read_docstring(app, kind, name, value, options, lines):
    lines[:] = as_rst(lines)


def read_signature(app, kind, name, value, options, signature, returned):
    """A dataclass shows a default that a function makes as <factory>: no Python."""
    return signature and signature.replace("<factory>", "..."), returned


def copy_mathjax(app, error):
    if error is None:
        target = Path(app.outdir, "_static", mathjax_path)
        target.write_bytes((_mathjax / mathjax_path).read_bytes())


def setup(app):
    app.connect("doctree-read", describe_images)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("build-finished", copy_mathjax)
