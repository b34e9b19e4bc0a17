"""Sphinx configuration; built with -W -n (make docs)."""

import importlib.metadata
from pathlib import PurePosixPath

from sphinx.directives.code import LiteralInclude

project = "aionest"
author = "The aionest authors"
copyright = "2026, The aionest authors"
version = release = importlib.metadata.version("aionest")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx_copybutton"]
intersphinx_mapping: dict = {}
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["aionest.css"]
autodoc_mock_imports = ["streamlit", "langchain_core", "strands"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
nitpick_ignore_regex = [("py:.*", ".*")]  # references into the standard library are not resolved offline
suppress_warnings = ["myst.xref_missing"]


class Program(LiteralInclude):
    """A program stands under its file's name: that is what others import it by."""

    def run(self):
        self.options.setdefault("caption", PurePosixPath(self.arguments[0]).name)
        return super().run()


def setup(app):
    app.add_directive("literalinclude", Program, override=True)
