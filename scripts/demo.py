"""The daily CDR pipeline on a real Airflow, against an embedded Flowroute account: two days, side by side."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from airflow_provider_flowroute.simulator import FlowrouteSimulator

ROOT = Path(__file__).resolve().parent.parent
LAKE = ROOT / ".airflow-demo"
DAG_ID = "flowroute_daily_cdrs"
SAMPLE_DAY = date(2019, 6, 25)

console = Console(highlight=False)


@dataclass
class Day:
    """A day to land, and where its Airflow keeps its things."""

    date: date
    home: Path

    @property
    def landed(self) -> Path:
        """Where the example DAG puts the day's file."""
        return LAKE / self.date.isoformat() / "cdrs.csv.gz"

    @property
    def log(self) -> Path:
        """What Airflow said."""
        return self.home / "demo.log"


def airflow(day: Day, *arguments: str, connection: str) -> None:
    """Run one `airflow` command in the day's own home."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(day.home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_FLOWROUTE_DEFAULT": connection,
        "AIRFLOW_VAR_FLOWROUTE_LAKE": str(LAKE),
        # Airflow's tasks reach the simulator directly, whatever proxy the machine has.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "airflow", *arguments]
    with day.log.open("ab") as log:
        subprocess.run(
            command,
            env=environment,
            cwd=day.home,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            check=True,
        )


def run(day: Day, connection: str) -> Day:
    """Migrate a fresh Airflow and run the example DAG for the day."""
    console.print(f"  {day.date}: setting up a throw-away Airflow")
    airflow(day, "db", "migrate", connection=connection)
    console.print(
        f"  {day.date}: running the DAG {DAG_ID}: create, wait (deferred), land, report", soft_wrap=True
    )
    # A run's data interval ends at its logical date.
    logical_date = (day.date + timedelta(days=1)).isoformat()
    conf = '{"late_calls_hours": 0}'
    airflow(day, "dags", "test", DAG_ID, logical_date, "--conf", conf, connection=connection)
    console.print(f"  {day.date}: landed")
    return day


def table(day: Day) -> Table:
    """The landed file's calls, minutes and cost by direction."""
    figures: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 3)
    with gzip.open(day.landed, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            added = (Decimal(1), Decimal(row["billed_duration"]) / 60, Decimal(row["total_cost"]))
            for name in (row["direction"].lower(), "total"):
                figures[name] = [a + b for a, b in zip(figures[name], added, strict=True)]
    result = Table("Direction", title=f"Calls of {day.date} (UTC)", title_justify="left")
    for heading in ("Calls", "Billed minutes", "Cost, USD"):
        result.add_column(heading, justify="right")
    for name in sorted(figures, key=lambda name: (name == "total", name)):
        calls, minutes, cost = figures[name]
        result.add_row(
            name, f"{calls}", f"{minutes:.1f}", f"{cost:.8f}", style="bold" if name == "total" else ""
        )
    return result


def main() -> int:
    """Run the demo.

    :return: the exit code.
    """
    started = datetime.now(UTC)
    shutil.rmtree(LAKE, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="flowroute-demo-") as scratch:
        dates = (SAMPLE_DAY, (started - timedelta(days=1)).date())
        days = [Day(each, Path(scratch, each.isoformat())) for each in dates]
        with FlowrouteSimulator(seed=1, calls_per_day=200, processing_seconds=3) as account:
            console.print(f"A Flowroute account runs at {account.url}.")
            for day in days:
                day.home.mkdir()
            with ThreadPoolExecutor(len(days)) as pool:
                runs = [pool.submit(run, day, account.connection_json) for day in days]
            for day, done in zip(days, runs, strict=True):
                if isinstance(done.exception(), subprocess.CalledProcessError):
                    return failed(day)
                done.result()
            sample = next(export for export in account.exports if export.start.date() == SAMPLE_DAY)
            expected = account.csv(sample.id)
        for day in days:
            console.print()
            console.print(table(day))
            console.print(
                f"{day.landed.relative_to(ROOT)}, {day.landed.stat().st_size} bytes", soft_wrap=True
            )
        if gzip.decompress(days[0].landed.read_bytes()) != expected:
            console.print(f"{days[0].landed} is not the file that the account gave.", style="red")
            return 1
        console.print(
            f"\n{SAMPLE_DAY} holds the three rows that Flowroute publishes as a sample, byte for byte.",
            soft_wrap=True,
        )
    console.print(f"Done in {(datetime.now(UTC) - started).total_seconds():.0f} s.")
    return 0


def failed(day: Day) -> int:
    """Say what went wrong, and keep the log.

    :return: the exit code.
    """
    kept = LAKE / f"{day.date}.log"
    LAKE.mkdir(exist_ok=True)
    shutil.copy(day.log, kept)
    tail = "\n".join(kept.read_text(errors="replace").splitlines()[-40:])
    console.print(tail, markup=False)
    console.print(f"The run for {day.date} failed. All that Airflow said is in {kept}.", style="red")
    return 1


if __name__ == "__main__":
    sys.exit(main())
