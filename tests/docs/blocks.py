"""Code blocks of the documentation: Sybil finds them, and each is run or checked according to its language."""

from __future__ import annotations

import argparse
import configparser
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import requests
import sqlglot
import yaml
from packaging.requirements import Requirement
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from airflow_provider_flowroute.exceptions import FlowrouteError
from airflow_provider_flowroute.simulator.cli import main as cli

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
EXTRAS = set(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
#: URL of the simulator when it starts with its default port.
SIMULATOR = f"http://127.0.0.1:{next(option.default for option in cli.params if option.name == 'port')}"

_FENCE = re.compile(r'(?P<language>[\w+-]*)(?:[ \t]+title="(?P<title>[^"\n]+)")?[^\n]*\n')


class BlockParser:
    """Find every fenced block, also those in a language without a check."""

    lexer = RawFencedCodeBlockLexer(_FENCE)

    def __call__(self, document: Document) -> Iterable[Region]:
        """Yield each block with the check for its language."""
        for region in self.lexer(document):
            region.parsed = region.lexemes["source"]
            region.evaluator = evaluate
            yield region


def read(page: Path) -> Document:
    """Parse a page. `<!-- skip: next "reason" -->` skips the next block."""
    return Document.parse(str(page), BlockParser(), SkipParser())


def project(page: Path) -> dict[str, str]:
    """Return the files of a page that shows a project with tests of its own, by name; else none."""
    titled = {
        region.lexemes["title"]: region.lexemes["source"]
        for _, region in read(page).regions
        if region.lexemes and region.lexemes.get("title")
    }
    return titled if any(name.startswith("tests/") for name in titled) else {}


def evaluate(example: Example) -> None:
    """Run or check a block."""
    language, title = (example.region.lexemes[name] for name in ("language", "title"))
    if title and title in project(Path(example.path)):
        return  # runs as part of that project
    where = f"{Path(example.path).name}, line {example.line}"
    assert language in CHECKS, f"{where}: there is no check for a block in {language or 'no language'!r}"
    try:
        CHECKS[language](example)
    except (ValueError, AssertionError, SystemExit, FlowrouteError, sqlglot.ParseError) as error:
        raise AssertionError(f"{where}: {error}") from error


def check_console(example: Example) -> None:
    """Check each command after a prompt. The other lines are output."""
    text = re.sub(r"\\\n", " ", example.parsed)
    commands = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    assert commands, "no line begins with a prompt. If it is a script, call it bash."
    for command in commands:
        check_command(command, example.namespace)


def check_bash(example: Example) -> None:
    """Check each command."""
    for command in re.sub(r"\\\n", " ", example.parsed).splitlines():
        if command.strip() and not command.startswith("#"):
            check_command(command, example.namespace)


def check_command(command: str, namespace: dict[str, Any]) -> None:
    """Check that a command exists and accepts its arguments."""
    words = shlex.split(command, comments=True)
    while words and re.match(r"\w+=", words[0]):  # variables of this command only
        words = words[1:]
    check = COMMANDS.get(words[0]) if words else None
    assert check, f"there is no check for {command!r}"
    check(words[1:], namespace)


def _airflow(words: list[str], _: dict[str, Any]) -> None:
    from airflow.cli.cli_parser import get_parser

    get_parser().parse_args(words)


def _make(words: list[str], _: dict[str, Any]) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    unknown = [word for word in words if "=" not in word and word not in targets]
    assert not unknown, f"the Makefile has no {unknown}"


def _pip(words: list[str], _: dict[str, Any]) -> None:
    assert words[0] == "install", words
    for requirement in (Requirement(word) for word in words[1:] if not word.startswith("-")):
        if requirement.name == "airflow-provider-flowroute":
            assert requirement.extras <= EXTRAS, f"no such extra: {requirement.extras - EXTRAS}"


def _python(words: list[str], _: dict[str, Any]) -> None:
    if words[0] == "-c":
        compile(words[1], "-c", "exec")
        return
    there = importlib.util.find_spec(words[1]) if words[0] == "-m" else (CHECKOUT / words[0]).exists()
    assert there, f"python {' '.join(words)}: there is no such module or file"


def _export(words: list[str], namespace: dict[str, Any]) -> None:
    from airflow.providers.common.compat.sdk import conf

    from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook

    for name, _, value in (word.partition("=") for word in words):
        if name.startswith("AIRFLOW_CONN_"):
            # Later blocks must not reach the real Flowroute.
            with namespace["monkeypatch"].context() as patch:
                patch.setenv(name, value)
                FlowrouteHook(name.removeprefix("AIRFLOW_CONN_").lower()).get_conn()
        else:
            _, section, key = name.split("__")
            assert conf.has_option(section.lower(), key.lower()), f"Airflow has no option {name}"


def _curl(words: list[str], namespace: dict[str, Any]) -> None:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("url")
    parser.add_argument("-X", dest="method", default="GET")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    given = parser.parse_args(words)
    body = json.loads(given.data) if given.data else None
    if "://127.0.0.1" in given.url:
        assert given.url.startswith(f"{SIMULATOR}/"), f"the simulator's default address is {SIMULATOR}"
        url = given.url.replace(SIMULATOR, namespace["flowroute"].url)
        answer = requests.request(given.method, url, json=body, timeout=10)
        assert answer.ok, f"{given.url} answers {answer.status_code}: {answer.text}"


def check_sql(example: Example) -> None:
    """Parse SQL in the dialect that the title of the block names."""
    title = example.region.lexemes["title"]
    assert title, 'the block does not name its database, for example title="Snowflake"'
    text = re.sub(r"\{\{.*?\}\}", "2026-11-23", example.parsed)  # Airflow's template
    for statement in sqlglot.parse(text, dialect=title.lower()):
        known = statement is not None and not isinstance(statement, sqlglot.exp.Command)
        assert known, f"{title} has no such statement: {statement}"


def _shown_only(_: Example) -> None:
    """Check nothing."""


COMMANDS: dict[str, Callable[[list[str], dict[str, Any]], None]] = {
    "airflow": _airflow,
    "make": _make,
    "pip": _pip,
    "python": _python,
    "export": _export,
    "curl": _curl,
}
CHECKS: dict[str, Callable[[Example], Any]] = {
    "python": PythonEvaluator(),
    "console": check_console,
    "bash": check_bash,
    "json": lambda example: json.loads(example.parsed),
    "toml": lambda example: tomllib.loads(example.parsed),
    "yaml": lambda example: yaml.safe_load(example.parsed),
    "ini": lambda example: configparser.ConfigParser().read_string(example.parsed),
    "sql": check_sql,
    "nginx": _shown_only,  # make e2e-events runs it
    "text": _shown_only,
}
