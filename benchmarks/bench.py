"""Compare this package's landing with other ways, interleaved in one run, and report which goals it meets.

Seconds depend on the machine and its load, so compare ratios.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from generate import make
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
FILES = HERE.parent / ".bench"
#: Bytes a second: 400 Mbit/s.
RATE = 50_000_000
RATED = " at 400 Mbit/s"
SLOW = ("SDK",)
DAYS = 92
NAMES = (
    "parquet",
    "csv.gz",
    "iceberg",
    "iceberg, unchanged",
    "download",
    "inflate",
    "open_csv + write",
    "polars",
    "pandas",
    "SDK",
    f"parquet{RATED}",
    f"download{RATED}",
)
#: Landings of a file over 92 days: the name, the contender and the file.
ONE_FILE, ONE_FILE_SHUFFLED = "one file", "one file, rows in no order"
DAY_FILES, SHUFFLED = "day files", "day files, rows in no order"
SORTED_FILE, SHUFFLED_FILE = f"{{rows}}-{DAYS}d", f"{{rows}}-{DAYS}d-shuffled"
LAKE = {
    ONE_FILE: ("parquet", SORTED_FILE),
    DAY_FILES: ("day files", SORTED_FILE),
    ONE_FILE_SHUFFLED: ("parquet", SHUFFLED_FILE),
    SHUFFLED: ("day files", SHUFFLED_FILE),
    "if_changed, same figures": ("unchanged", SORTED_FILE),
    "if_changed, every row is compared": ("changed", SORTED_FILE),
}
console = Console(highlight=False)
Results = dict[str, list[dict[str, float]]]


@contextmanager
def served() -> Iterator[str]:
    """Run the server in a process of its own."""
    command = [sys.executable, str(HERE / "serve.py"), str(FILES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def run(name: str, url: str, rows: int | str, out: Path, rate: int = 0) -> dict[str, float]:
    """Run one contender in a new process, to a new file: truncating an old one takes time."""
    out.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, str(HERE / "contenders.py"), name, url, f"{rate}-{rows}", str(out)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))  # Airflow prints its log before


def median(results: Results, name: str, figure: str = "wall") -> float:
    """Return the median of the rounds."""
    return statistics.median(measured[figure] for measured in results[name])


def show(results: Results, rows: int) -> None:
    """Print the figures of each contender."""
    table = Table(title=f"{rows:,} rows, medians; RSS over the idle process", title_justify="left")
    table.add_column("")
    for column in ("wall s", "CPU s", "RSS MiB", "rounds"):
        table.add_column(column, justify="right")
    for name, rounds in results.items():
        wall, cpu, rss = (median(results, name, figure) for figure in ("wall", "cpu", "rss"))
        table.add_row(name, f"{wall:.2f}", f"{cpu:.2f}", f"{rss:.0f}", str(len(rounds)))
    console.print(table)


def goals(results: Results, rows: int, large: int | None) -> list[tuple[str, float, str, float]]:
    """Return the goals: a name, the measured figure, a relation and the limit."""

    def over(a: str, b: str, figure: str = "wall") -> float:
        return median(results, a, figure) / median(results, b, figure)

    found = [
        ("open_csv + write / parquet", over("open_csv + write", "parquet"), ">=", 0.9),
        ("polars / parquet", over("polars", "parquet"), ">", 1.0),
        ("pandas / parquet", over("pandas", "parquet"), ">=", 3.0),
        ("csv.gz / inflate", over("csv.gz", "inflate"), "<=", 1.3),
        (
            "at 400 Mbit/s: parquet / download",
            over(f"parquet{RATED}", f"download{RATED}"),
            "<=",
            1.15,
        ),
        ("parquet, RSS over idle, MiB", median(results, "parquet", "rss"), "<=", 250),
        ("iceberg / parquet", over("iceberg", "parquet"), "<=", 1.4),
        ("iceberg, RSS over idle, MiB", median(results, "iceberg", "rss"), "<=", 350),
        ("iceberg, unchanged: seconds", median(results, "iceberg, unchanged"), "<=", 1.0),
    ]
    if "SDK" in results:
        found.append(("SDK / parquet", over("SDK", "parquet"), ">=", 15))
    if large:
        more = median(results, f"parquet, {large:,} rows", "rss") - median(results, "parquet", "rss")
        found.append(("RSS, bytes for each further row", more * 2**20 / (large - rows), "<=", 8))
    return found


def show_goals(found: list[tuple[str, float, str, float]]) -> None:
    """Print the goals."""
    table = Table(title="Goals", title_justify="left")
    for column in ("", "figure", "goal", ""):
        table.add_column(column, justify="left" if not column else "right")
    for name, figure, relation, limit in found:
        met = {">=": figure >= limit, ">": figure > limit, "<=": figure <= limit}[relation]
        table.add_row(name, f"{figure:.2f}", f"{relation} {limit:g}", "met" if met else "[red]missed[/]")
    console.print(table)


def measure_lake(url: str, rows: int, large: int, rounds: int, directory: Path) -> None:
    """Measure landings of 92 days: one file, day files and if_changed."""
    for size in filter(None, (rows, large)):
        for name, shuffled in ((SORTED_FILE, False), (SHUFFLED_FILE, True)):
            path = FILES / f"{name.format(rows=size)}.csv.gz"
            with console.status(f"{path.name} ..."):
                make(path, size, DAYS, shuffled=shuffled)

    def measure(name: str, size: int) -> dict[str, float]:
        contender, file = LAKE[name]
        with (
            tempfile.TemporaryDirectory(dir=directory) as folder,
            console.status(f"{name}, {size:,} rows ..."),
        ):
            return run(contender, url, file.format(rows=size), Path(folder, "out.parquet"))

    results: Results = defaultdict(list)
    for number in range(rounds):
        for name in random.Random(number).sample(list(LAKE), len(LAKE)):
            results[name].append(measure(name, rows))
    found = [
        (f"{name} / {other}", median(results, name) / median(results, other), "<=", 1.4)
        for name, other in ((DAY_FILES, ONE_FILE), (SHUFFLED, ONE_FILE_SHUFFLED))
    ]
    for name in (DAY_FILES, SHUFFLED):
        found.append((f"{name}, RSS over idle, MiB", median(results, name, "rss"), "<=", 350))
        if large:
            title = f"{name}, {large:,} rows"
            results[title].append(measure(name, large))
            found.append((f"{title}, RSS over idle, MiB", median(results, title, "rss"), "<=", 350))
    show({name: results[name] for name in LAKE} | results, rows)
    show_goals(found)


@click.command()
@click.option("--rows", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option(
    "--large",
    type=int,
    default=5_000_000,
    show_default=True,
    help="Rows of the file that measures memory; 0 omits it.",
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--sdk/--no-sdk",
    default=True,
    help="Include the way of Flowroute's SDK, which takes half a minute and 5 GB.",
)
@click.option("--lake", is_flag=True, help="Measure only day files and if_changed, over 92 days.")
def main(rows: int, large: int, rounds: int, sdk: bool, lake: bool) -> None:
    """Compare ways from a served file to Parquet."""
    if lake:
        with served() as url, tempfile.TemporaryDirectory(prefix="flowroute-bench-") as directory:
            measure_lake(url, rows, large, rounds, Path(directory))
        return
    for size in filter(None, (rows, large)):
        with console.status(f"A file of {size:,} rows ..."):
            make(FILES / f"{size}.csv.gz", size)
    results: Results = defaultdict(list)
    with served() as url, tempfile.TemporaryDirectory(prefix="flowroute-bench-") as directory:
        out = Path(directory, "out.parquet")
        for number in range(rounds):
            # A new order in each round, because the process that ran before can change a figure by a tenth.
            for name in random.Random(number).sample(NAMES, len(NAMES)):
                if name in SLOW and (number or not sdk):
                    continue
                contender, rated, _ = name.partition(RATED)
                with console.status(f"Round {number + 1} of {rounds}: {name} ..."):
                    results[name].append(run(contender, url, rows, out, RATE if rated else 0))
        if large:
            with console.status(f"parquet, {large:,} rows ..."):
                results[f"parquet, {large:,} rows"].append(run("parquet", url, large, out))
    show({name: results[name] for name in NAMES if name in results} | results, rows)
    found: list[Any] = goals(results, rows, large)
    show_goals(found)


if __name__ == "__main__":
    main()
