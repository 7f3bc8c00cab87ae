"""How the documentation is built: ``make docs``."""

from __future__ import annotations

import shutil
from pathlib import Path

from xinverse._version import __version__

HERE = Path(__file__).resolve().parent

project = "xinverse"
author = "xinverse developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]

# The tutorials live beside the package, where they are run by hand; Sphinx reads only what
# lies under this folder.
tutorials = HERE / "tutorials"
shutil.rmtree(tutorials, ignore_errors=True)
if (source := HERE.parent / "tutorials").is_dir():
    shutil.copytree(source, tutorials, ignore=shutil.ignore_patterns("*.zarr", "*.png"))

exclude_patterns = [
    "_build",
    "**.ipynb_checkpoints",
    "conf.py",
    "make_images.py",
    "**/README.md",
]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_merge_streams = True

autosummary_generate = True
# The public names are those of __all__, wherever they are defined.
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"  # numpydoc's Parameters section has them
numpydoc_show_class_members = False
templates_path = ["_templates"]

html_theme = "furo"
html_title = f"xinverse {release}"
html_copy_source = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
