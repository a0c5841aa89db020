"""Measure what waiting exports cost a triggerer, print a table, and draw the picture of docs/waiting.md.

Each row runs in a fresh process, and its server in another one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from waiting_svg import draw

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "img" / "waiting.svg"
console = Console(highlight=False, width=160)
Row = dict[str, Any]


@dataclass
class Limit:
    """A limit on a figure.

    :param what: the figure, for the reader.
    :param value: what was measured.
    :param limit: the highest value allowed.
    """

    what: str
    value: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit


def measure(exports: int, state: str, rounds: int, poke_interval: float) -> Row:
    """Measure one row."""
    command = [
        sys.executable,
        str(HERE / "waiting_row.py"),
        str(exports),
        state,
        str(rounds),
        str(poke_interval),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def limits(rows: list[Row], poke_interval: float) -> list[Limit]:
    """Compare the rows with the limits."""
    normal = [row for row in rows if not row["hung"]]
    fewest, most = normal[0], normal[-1]
    found = [
        Limit(f"requests per round, {most['exports']:,} exports", most["requests"] - most["completions"], 8),
        Limit("more sockets than with the fewest exports", most["sockets"] - fewest["sockets"], 3),
        Limit("more threads than with the fewest exports", most["threads"] - fewest["threads"], 2),
        Limit("thread for another provider, s", max(row["neighbour"] for row in rows), 0.2),
        Limit("CPU per round, s", most["cpu"], 0.5),
    ]
    for row in rows:
        state = "API hung, " if row["hung"] else ""
        what = f"event loop lag, 99th percentile, {row['exports']:,} exports, {state}s"
        # On a machine with other work, an idle event loop is late, too.
        found.append(Limit(what, row["lag"], 0.020 + row["idle_lag"]))
    for row in normal:
        exports = f"{row['exports']:,} exports, s"
        found.append(
            Limit(f"delay, maximum, {exports}", row["delay_max"], 1.2 * poke_interval + row["round"])
        )
        if row["completions"] * row["rounds"] >= 10:  # The median of fewer is chance.
            limit = 0.6 * poke_interval + row["round"]
            found.append(Limit(f"delay, median, {exports}", row["delay_median"], limit))
    found += [
        Limit(f"event after the deadline, {row['exports']:,} exports, API hung, s", row["delay_max"], 1)
        for row in rows
        if row["hung"]
    ]
    return found


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in (
        "exports", "API", "requests/round", "completed/round", "sockets", "threads", "lag p99 ms", "idle lag ms",
        "other's thread ms", "delay median s", "delay max s", "CPU/round s",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row['exports']:,}",
            "hung" if row["hung"] else "normal",
            f"{row['requests']:.1f}",
            f"{row['completions']:.1f}",
            str(row["sockets"]),
            str(row["threads"]),
            f"{row['lag'] * 1000:.1f}",
            f"{row['idle_lag'] * 1000:.1f}",
            f"{row['neighbour'] * 1000:.0f}",
            f"{row['delay_median']:.1f}",
            f"{row['delay_max']:.1f}",
            f"{row['cpu']:.2f}",
        )
    console.print(table)
    console.print("Delay: from completion to event; with a hung API, from the deadline to the event.")


@click.command()
@click.option("--exports", default="1,10,100,1000", help="Numbers of exports, separated by commas.")
@click.option("--rounds", default=4, type=click.IntRange(3), help="Length of a row, in poke intervals.")
@click.option("--poke-interval", default=10.0, help="Seconds between two polls of an export.")
@click.option("--svg", default=PICTURE, type=click.Path(path_type=Path), help="Where to write the picture.")
def main(exports: str, rounds: int, poke_interval: float, svg: Path) -> None:
    """Measure what waiting exports cost a triggerer."""
    rows = []
    for number in sorted(map(int, exports.split(","))):
        for state in ("normal", "hung"):
            console.print(f"{number:,} exports, {state}: {rounds * poke_interval:g} s ...", style="dim")
            rows.append(measure(number, state, rounds, poke_interval))
    show(rows)
    found = limits(rows, poke_interval)
    for limit in found:
        mark = "[green]met[/]" if limit.holds else "[red]missed[/]"
        console.print(f"{mark:>14} {limit.what}: {limit.value:.3g} (limit {limit.limit:.3g})")
    svg.write_text(draw(rows, poke_interval))
    console.print(f"The picture is {svg}.")
    if not all(limit.holds for limit in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
