"""The table that the documentation shows."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """The outcome of each case."""

    rows: list[tuple[str, str, str, int, int, int]] = field(default_factory=list)

    def add(self, failure: str, mode: str, outcome: str, tries: int, airflows: int, exports: int) -> None:
        """Add a case.

        :param airflows: number of the tries that Airflow itself caused.
        """
        self.rows.append((failure, mode, outcome, tries, airflows, exports))

    def table(self, version: str) -> str:
        """Return the table as Markdown."""
        lines = [
            f"| on Airflow {version} | how it waits | outcome | tries of create | exports |",
            "|---|---|---|---|---|",
        ]
        for failure, mode, outcome, tries, airflows, exports in self.rows:
            shown = f"{tries} ({airflows} of them caused by Airflow)" if airflows else str(tries)
            lines.append(f"| {failure} | {mode} | {outcome} | {shown} | {exports} |")
        return "\n".join(lines)
