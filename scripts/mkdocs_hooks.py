"""Hooks of MkDocs: the version in the header, tables for narrow screens, and the roles of Sphinx in docstrings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_provider_flowroute"


class _LabelCells(Treeprocessor):
    """Give each cell the header of its column, which the style sheet shows on a narrow screen."""

    def run(self, root: Element) -> None:
        for table in root.iter("table"):
            headers = ["".join(header.itertext()).replace("`", "") for header in table.iter("th")]
            for row in table.iter("tr"):
                for cell, header in zip(row.findall("td"), headers, strict=False):
                    cell.set("data-label", header)


class LabelCells(Extension):
    """Register the tree processor."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Markdown's name
        # Before the inline patterns: a header is still text.
        md.treeprocessors.register(_LabelCells(md), "label-cells", 25)


def on_config(config: Any) -> None:
    """Add the version to the name of the site, and the labels to the tables."""
    version = re.search(r'^__version__ = "(.+)"', (PACKAGE / "__init__.py").read_text(), re.MULTILINE)
    assert version
    config.site_name += f" {version[1]}"
    config.markdown_extensions.append(LabelCells())


def on_page_content(html: str, **_: Any) -> str:
    """Replace a role of Sphinx in a docstring, such as ``:class:`~a.b.Name` ``, by the name."""
    return re.sub(
        r":(?:class|data|func|meth|attr|mod):<code>[~.]?(?:\w+\.)*(\w+)</code>", r"<code>\1</code>", html
    )
