"""The API reference has each class that a DAG can use, and the navigation has each page."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from tests.test_provider_info import INFO, modules_of

from .blocks import CHECKOUT

DOCS = CHECKOUT / "docs"
REFERENCE = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))


def classes(module: str) -> list[str]:
    """Return the public classes that a module defines."""
    members = inspect.getmembers(importlib.import_module(module), inspect.isclass)
    return [
        name for name, value in members if value.__module__ == module and not value.__name__.startswith("_")
    ]


@pytest.mark.parametrize("module", modules_of(INFO))
def test_api_reference_has_each_class_of_a_listed_module(module: str):
    missing = [name for name in classes(module) if f"::: {module}.{name}\n" not in REFERENCE]

    assert missing == [], f"add '::: {module}.{missing[0]}' to a page in docs/api"


def test_navigation_has_each_page_once():
    nav = (CHECKOUT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"^ +- [^#\n]*: (\S+\.md)$", nav, re.MULTILINE)

    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
