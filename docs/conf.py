"""Sphinx reads this; what it shows is laid out by `skmm_study.site.prepare`. Nothing is run."""

import re
import shutil
from importlib.metadata import files
from pathlib import Path

import skmm

project = "skmm"
author = "The skmm authors"
copyright = "The skmm authors, BSD-3-Clause"
version = release = skmm.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
default_role = "py:obj"

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables, which CommonMark lacks
nb_mime_priority_overrides = [("html", "text/markdown", 0)]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "skmm"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "choosing": [], "comparison": []}

# Formulas without the web: the scripts and fonts lie beside the pages.
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}, "chtml": {"matchFontHeight": False}}


def copy_mathjax(app, exception):
    """Copies what the pages load of MathJax from its wheel."""
    if exception is not None or app.builder.name != "html":
        return
    for file in files("django-static-mathjax"):
        _, found, path = file.as_posix().partition("/mathjax/es5/")
        if found and (path == "tex-chtml.js" or path.startswith("output/chtml/fonts/woff-v2/")):
            target = Path(app.outdir) / "_static" / "mathjax" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)


def name_arrays(app, what, name, obj, options, signature, returns):
    """Writes types of arrays as the code does."""
    long = re.compile(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]")
    return tuple(text and long.sub(r"NDArray[\1]", text) for text in (signature, returns))


def setup(app):
    """Registers what happens while the site is built and after."""
    app.connect("autodoc-process-signature", name_arrays)
    # On every page, for titles in the navigation hold formulas, too.
    app.connect("config-inited", lambda app, config: app.set_html_assets_policy("always"))
    app.connect("build-finished", copy_mathjax)
