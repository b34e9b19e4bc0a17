"""Sphinx configuration; built with -W -n (make docs)."""

import importlib.metadata

project = "aionest"
author = "The aionest authors"
copyright = "2026, The aionest authors"
version = release = importlib.metadata.version("aionest")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
intersphinx_mapping: dict = {}
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
autodoc_mock_imports = ["streamlit", "langchain_core", "strands"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
nitpick_ignore_regex = [("py:.*", ".*")]  # references into the standard library are not resolved offline
suppress_warnings = ["myst.xref_missing"]
