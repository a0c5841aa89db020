"""Run the example DAG flowroute_daily_cdrs on a real Airflow with a simulated Flowroute account.

It runs for two days: 2019-06-25, of which Flowroute publishes three real rows, and yesterday, with generated calls.
Only the landed files remain at the end.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
from airflow_env import AIRFLOW_VERSION, CHECKOUT, DAG, SAMPLE_DAY, airflow, airflow_env, end_of
from rich.console import Console
from rich.table import Table

from airflow_provider_flowroute.report import write_report
from airflow_provider_flowroute.simulator import FlowrouteSimulator
from airflow_provider_flowroute.simulator.calls import SAMPLE_ROWS

OUTPUT = CHECKOUT / ".airflow-demo"
console = Console(highlight=False)


class StepFailedError(Exception):
    """An Airflow command failed.

    :param command: the command.
    :param log: file with its output.
    """

    def __init__(self, command: str, log: Path) -> None:
        super().__init__(command)
        self.log = log


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show the current step: with a spinner on a terminal, else as a line."""
    start = time.monotonic()
    if not console.is_terminal:
        console.print(f"{text} ...", soft_wrap=True)
        yield
        return
    with console.status(f"{text} ..."):
        yield
    console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - start:.0f} s[/]")


@dataclass
class Run:
    """One run of the DAG, in a process of its own.

    :param day: UTC day that it covers.
    :param directory: temporary directory with a migrated database.
    """

    day: date
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """File with the output of Airflow."""
        return OUTPUT / "logs" / f"{self.day}.log"

    @property
    def landed(self) -> Path:
        """File that the DAG lands."""
        return OUTPUT / "lake" / f"date={self.day}" / "cdrs.parquet"

    def start(self, env: dict[str, str]) -> None:
        """Start `airflow dags test`. Its date is the end of the data interval."""
        database = self.directory / f"{self.day}.db"
        shutil.copy(self.directory / "airflow.db", database)
        self.landed.unlink(missing_ok=True)
        end = str(self.day + timedelta(days=1))
        # Just after midnight, yesterday ended less than two hours ago.
        command = airflow("dags", "test", DAG, end, "--conf", '{"late_calls_hours": 0}')
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env=env | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Wait until it ends; it must succeed."""
        assert self.process is not None
        if self.process.wait() or not self.landed.exists():
            raise StepFailedError(f"airflow dags test {DAG} (for {self.day})", self.log)

    def stop(self) -> None:
        """End the process if it is running."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def migrate(directory: Path, env: dict[str, str]) -> None:
    """Create an Airflow database."""
    log = OUTPUT / "logs" / "migrate.log"
    with log.open("wb") as out:
        done = subprocess.run(
            airflow("db", "migrate"), env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        )
    if done.returncode:
        raise StepFailedError("airflow db migrate", log)


def pipeline(directory: Path) -> list[tuple[Run, str]]:
    """Run the DAG for both days in parallel.

    :return: the runs, each with the result of comparing its file with the account.
    """
    runs = [Run(SAMPLE_DAY, directory), Run(datetime.now(UTC).date() - timedelta(days=1), directory)]
    with FlowrouteSimulator(seed=1, processing_seconds=5) as flowroute:
        env = airflow_env(directory, OUTPUT / "lake")
        env["AIRFLOW_CONN_FLOWROUTE_DEFAULT"] = flowroute.connection_json
        with step(f"Airflow {AIRFLOW_VERSION}: a database in a temporary AIRFLOW_HOME"):
            migrate(directory, env)
        try:
            with step(f"{DAG}, {runs[0].day} and {runs[1].day}: create, wait, land"):
                for run in runs:
                    run.start(env)
                for run in runs:
                    run.wait()
        finally:
            for run in runs:
                run.stop()
        return [(run, check(run, flowroute)) for run in runs]


def check(run: Run, flowroute: FlowrouteSimulator) -> str:
    """Compare the landed file with the account, value by value."""
    exports = [export for export in flowroute.exports if export.start.date() == run.day]
    content = flowroute.csv(exports[0].id)
    # Some versions of pyarrow add a column for a folder such as date=2026-11-01.
    landed = pq.read_table(run.landed, partitioning=None)
    options = pyarrow.csv.ConvertOptions(
        column_types=landed.schema,
        include_columns=landed.column_names,
        include_missing_columns=True,
        null_values=[""],
        strings_can_be_null=True,
    )
    if len(exports) != 1 or not landed.equals(
        pyarrow.csv.read_csv(io.BytesIO(content), convert_options=options)
    ):
        raise StepFailedError(f"the file for {run.day} differs from the account", run.log)
    real = sorted(content.decode().splitlines()[1:]) == sorted(SAMPLE_ROWS)
    return "the three real rows" if real else "equal to the account's rows"


def reconciliation(run: Run) -> str:
    """Return the checks in the footer of the landed file."""
    metadata = pq.read_metadata(run.landed).metadata
    lines = [f"Reconciled with export {metadata[b'flowroute.export_id'].decode()}:"]
    for name, check in json.loads(metadata[b"flowroute.reconciliation"]).items():
        if check["passed"] is None:
            lines.append(f"  not checked: {name} ({check['reason']})")
        else:
            mark = "[green]passed[/]" if check["passed"] else "[red]failed[/]"
            lines.append(f"  {mark}: {name} {check['actual']}, expected {check['expected']}")
    return "\n".join(lines)


def table(run: Run) -> Table:
    """Return the totals of the landed file."""
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 3)
    for row in pq.read_table(run.landed, columns=["direction", "billed_duration", "total_cost"]).to_pylist():
        figures = (Decimal(1), Decimal(row["billed_duration"]) / 60, row["total_cost"])
        for name in (row["direction"].lower(), "total"):
            sums[name] = [a + b for a, b in zip(sums[name], figures, strict=True)]
    result = Table(title=f"Calls that began on {run.day} (UTC)", title_justify="left", show_footer=True)
    total = sums.pop("total")
    result.add_column("direction", "total")
    for name, format_spec, figure in zip(
        ("calls", "minutes", "cost, USD"), ("f", ".1f", ".6f"), total, strict=True
    ):
        result.add_column(name, format(figure, format_spec), justify="right")
    for direction, (calls, minutes, cost) in sorted(sums.items()):
        result.add_row(direction, f"{calls:f}", f"{minutes:.1f}", f"{cost:.6f}")
    return result


def main() -> int:
    """Run the demo.

    :return: the exit code.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start = time.monotonic()
    (OUTPUT / "logs").mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="flowroute-demo-") as directory:
            results = pipeline(Path(directory))
    except StepFailedError as failure:
        console.print(f"[red]Failed: {failure}[/]\nThe last lines of {failure.log}:", soft_wrap=True)
        console.print(end_of(failure.log), markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    for run, checked in results:
        console.print()
        console.print(table(run))
        console.print(reconciliation(run), soft_wrap=True)
        size = run.landed.stat().st_size
        console.print(f"{os.path.relpath(run.landed)}: {size} bytes, typed, {checked}", soft_wrap=True)
    report = OUTPUT / "report.html"
    yesterday = results[-1][0]
    write_report(yesterday.landed, report)
    console.print(
        f"\nReport of {yesterday.day}, to open in a browser: {os.path.relpath(report)}", soft_wrap=True
    )
    console.print(
        f"Done in {time.monotonic() - start:.0f} s. Only the calls of 2019-06-25 are real. Next: make ui"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
