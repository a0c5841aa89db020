"""docs/troubleshooting.md explains the cause and the fix of every error message of this package.

A new ``raise`` needs a row in the section of its error. The first column quotes a part of the message, with ``…`` for
the parts that differ from case to case.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import airflow_provider_flowroute
from airflow_provider_flowroute import exceptions

from .blocks import CHECKOUT

PACKAGE = Path(airflow_provider_flowroute.__file__).parent
PAGE = (CHECKOUT / "docs" / "troubleshooting.md").read_text()
ERRORS = {
    name
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, exceptions.FlowrouteError)
}
#: Adds the export and the file to another error.
WRAPPER = "type(e)"


@dataclass(frozen=True)
class Message:
    """A message of an error, and where it is raised."""

    error: str
    words: str
    where: str


def messages() -> Iterator[Message]:
    """Iterate over all messages: the first argument of an error, or the advice next to an error in a table."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "simulator" in path.relative_to(PACKAGE).parts:
            continue
        tree = ast.parse(path.read_text())
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            error, said = _raised(node)
            words = _words(said, constants) if said is not None else ""
            if (error in ERRORS or error == WRAPPER) and re.search(r"\w", words):
                yield Message(error, words, f"{path.relative_to(PACKAGE)}:{node.lineno}")  # type: ignore[attr-defined]


def _raised(node: ast.AST) -> tuple[str, ast.expr | None]:
    if isinstance(node, ast.Call) and node.args:
        return ast.unparse(node.func), node.args[0]
    if isinstance(node, ast.Tuple) and len(node.elts) == 2:
        return ast.unparse(node.elts[0]), node.elts[1]
    return "", None


def _words(said: ast.expr, constants: dict[str, ast.expr]) -> str:
    """Return a message with ``…`` for the parts that are known only at run time."""
    if isinstance(said, ast.Call) and isinstance(said.func, ast.Attribute) and said.func.attr == "format":
        said = said.func.value
    if isinstance(said, ast.Name):
        said = constants.get(said.id, said)
    parts = said.values if isinstance(said, ast.JoinedStr) else [said]
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
    return re.sub(r"\{\w*(!r)?\}", "…", text)


def sections() -> dict[str, list[list[str]]]:
    """Return the rows of each error's table: message, cause, fix."""
    parts = re.split(r"^## (\w+)$", PAGE, flags=re.MULTILINE)[1:]
    return {
        error: [
            [cell.strip() for cell in row.split("|")[1:-1]]
            for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)[2:]
        ]
        for error, text in zip(parts[::2], parts[1::2], strict=True)
    }


SECTIONS = sections()
MESSAGES = list(messages())


def explained(error: str) -> list[str]:
    """Return the quoted parts of an error's messages on the page."""
    return [
        words
        for name in (SECTIONS if error == WRAPPER else [error])
        for row in SECTIONS.get(name, [])
        for words in re.findall("`([^`]+)`", row[0])
    ]


def says(message: Message, words: str) -> bool:
    """Return whether a message contains these words of the page."""
    pieces = [re.escape(piece) for piece in words.split("…")]
    return re.search(".*?".join(pieces), message.words, re.DOTALL) is not None


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.where)
def test_every_message_has_a_row(message: Message):
    assert any(says(message, words) for words in explained(message.error)), (
        f"{message.where}: give {message.words!r} a row below '## {message.error}' in docs/troubleshooting.md"
    )


def test_every_error_has_a_section_and_every_row_has_three_cells():
    assert set(SECTIONS) == ERRORS
    for error, rows in SECTIONS.items():
        assert rows or error == "FlowrouteAPIError", f"{error}: no message"
        for row in rows:
            assert len(row) == 3, row
            assert all(row), row


def test_every_row_quotes_a_message_that_exists():
    raised = {
        error: [message for message in MESSAGES if message.error in (error, WRAPPER)] for error in SECTIONS
    }
    stale = [
        f"{error}: {words}"
        for error in SECTIONS
        for words in explained(error)
        if not any(says(message, words) for message in raised[error])
    ]
    assert stale == []


def test_messages_are_found():
    assert len(MESSAGES) > 50
    assert {"window.py", "client.py", "cdr_export.py", "errors.py"} <= {
        message.where.split(":")[0].rsplit("/", 1)[-1] for message in MESSAGES
    }


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.where)
def test_first_line_of_a_message_has_at_most_80_characters(message: Message):
    """A part that is known only at run time counts as eight characters."""
    first, *_ = message.words.split("\n")

    assert len(first.replace("…", "x" * 8)) <= 80, first
