"""How Sphinx makes the documentation's site; tools/docs.py says of what."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
ANSIBLE = "https://docs.ansible.com/ansible/latest/"
# Where the labels and variables are that the reference takes from Ansible's own documentation: no inventory is fetched.
PAGES = (
    (r"action_plugins", "plugins/action.html"),
    (r"callback_plugins", "plugins/callback.html"),
    (r"ansible_configuration_settings", "reference_appendices/config.html"),
    (r"common_return_values", "reference_appendices/common_return_values.html"),
    (r"ansible_collections\.((?!mlops\.)\w+)\.(\w+)\.(\w+)", r"collections/\1/\2/\3.html"),
    (r"(ANSIBLE_\w+)", r"reference_appendices/config.html#envvar-\1"),
)

project = "mlops.platform"
author = "The mlops.platform maintainers"
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
extensions = ["myst_parser", "sphinx_antsibull_ext"]
nitpicky = True
myst_heading_anchors = 4

html_theme = "furo"
html_static_path = [str(ROOT / "docs" / "static")]
html_css_files = ["site.css"]
html_title = f"{project} {release}"
html_copy_source = html_show_sourcelink = html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"


def ansible_page(app: Sphinx, env: Any, node: nodes.Element, content: nodes.TextElement) -> nodes.reference | None:
    """A link to Ansible's documentation; None for what is missing indeed."""
    for pattern, page in PAGES:
        if found := re.fullmatch(pattern, node.get("reftarget", "")):
            return nodes.reference("", "", content.deepcopy(), internal=False, refuri=ANSIBLE + found.expand(page))
    return None


def setup(app: Sphinx) -> None:
    """What Sphinx calls first."""
    app.connect("missing-reference", ansible_page)
