"""The DAGs of the guides."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.version import Version

from tests.docs.blocks import CHECKOUT, read

PAGE = CHECKOUT / "docs" / "recipes.md"
#: Pages whose DAGs the tests run.
DAG_PAGES = [CHECKOUT / "docs" / name for name in ("create.md", "landing.md", "recipes.md")]
AIRFLOW = Version(version("apache-airflow")).release


def blocks(language: str, title: str | None = None, page: Path = PAGE) -> list[str]:
    """Return the code blocks of a page in a language, and with a title if one is given."""
    found = [region.lexemes for _, region in read(page).regions if region.lexemes]
    return [
        lexemes["source"]
        for lexemes in found
        if lexemes.get("language") == language and title in (None, lexemes.get("title"))
    ]


def parse_dags(file: Path, page: Path | None = None, **replacements: Path) -> dict[str, Any]:
    """Let Airflow parse all the Python of the guides, or of one page, as one file.

    :param file: the file to write.
    :param page: the page; None for all of `DAG_PAGES`.
    :param replacements: ``data`` and ``s3``: local directories in place of those of the pages.
    :return: the DAGs by ID.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag

    code = [block for name in ([page] if page else DAG_PAGES) for block in blocks("python", page=name)]
    code = [block for block in code if "FileSelector" not in block]
    if AIRFLOW < (3, 3):
        code = [block for block in code if "CronPartitionTimetable" not in block]
    if not find_spec("airflow.providers.google"):
        code = [block for block in code if "airflow.providers.google" not in block]
    text = "\n".join(code)
    places = {"data": "/data/cdrs", "s3": "s3://aws_default@my-lake/cdrs"}
    for name, directory in replacements.items():
        assert places[name] in text
        text = text.replace(places[name], str(directory))
    assert '"retries": 2' in text
    file.write_text(text.replace('"retries": 2', '"retries": 0'))  # no delay of five minutes
    bag = DagBag(str(file))
    assert bag.import_errors == {}
    return dict(bag.dags)
