"""The table that the documentation shows."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """The outcome of each case.

    :param columns: the headers of the columns after the first.
    """

    columns: tuple[str, ...] = ("how it waits", "outcome", "tries of create", "exports")
    rows: list[tuple[object, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a case: the failure and the value of each column."""
        self.rows.append(cells)

    def table(self, version: str) -> str:
        """Return the table as Markdown."""
        header = (f"on Airflow {version}", *self.columns)
        lines = [f"| {' | '.join(map(str, row))} |" for row in (header, *self.rows)]
        return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


#: The report of this test session.
REPORT = Report()


def number_of_tries(tries: int, expected: int) -> str:
    """Return a number of tries; those beyond the expected number were caused by Airflow."""
    return f"{tries} ({tries - expected} of them caused by Airflow)" if tries > expected else str(tries)
