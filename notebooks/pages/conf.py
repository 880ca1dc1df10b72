"""Settings of the web pages: `make site` runs Sphinx with them.

The source folder is the whole checkout, so that a link between two documents is the same on GitHub
and on the pages; `include_patterns` says which documents become pages. What Sphinx does not do by
itself is in `extension.py`.
"""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

project = "w2s_nb"
author = copyright = "the w2s_nb authors"
version = release = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]

root_doc = "notebooks/pages/index"
include_patterns = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.fa.md",
    "notebooks/*.ipynb",
    "notebooks/README.md",
    "notebooks/solutions/*.ipynb",
    "notebooks/pages/**",
    "papermill_runs/README.md",
    "papermill_runs/reference/README.md",
    "w2s_nb/chess/weights/README.md",
]
exclude_patterns = [
    ".*",
    "tests",
    "**/.ipynb_checkpoints",
    "papermill_runs/[!rR]*",
    "**/__pycache__",
]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "extension"]

nb_execution_mode = "off"  # outputs are those that are stored
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4  # links to headings, as GitHub names them
smartquotes_action = "D"  # dashes; quotes stay as they are in code
add_module_names = False
highlight_language = "none"  # of blocks that name no language, such as what a command prints

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_display_short_literal_types = True

html_theme = "furo"
html_title = "w2s_nb"
html_static_path = ["static"]
html_favicon = "static/favicon.svg"
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
html_additional_pages = {"index": "front.html"}
templates_path = ["templates"]
html_copy_source = False
html_show_copyright = False

# `owner/name` on GitHub, as the workflow that publishes the pages knows it
repository = os.environ.get("GITHUB_REPOSITORY", "")
html_context = {"repository": repository}
if repository:
    html_theme_options = {
        "source_repository": f"https://github.com/{repository}/",
        "source_branch": "main",
        "source_directory": "",
    }
