"""The table that the documentation keeps."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """What became of each case."""

    rows: list[tuple[str, str, str, int, int, int]] = field(default_factory=list)

    def add(self, mishap: str, mode: str, outcome: str, tries: int, airflows: int, exports: int) -> None:
        """Note a case.

        :param airflows: how many of the tries were Airflow's own doing.
        """
        self.rows.append((mishap, mode, outcome, tries, airflows, exports))

    def table(self, version: str) -> str:
        """As Markdown."""
        lines = [
            f"| on Airflow {version} | how it waits | outcome | tries of create | exports |",
            "|---|---|---|---|---|",
        ]
        for mishap, mode, outcome, tries, airflows, exports in self.rows:
            shown = f"{tries} ({airflows} of them Airflow's own)" if airflows else str(tries)
            lines.append(f"| {mishap} | {mode} | {outcome} | {shown} | {exports} |")
        return "\n".join(lines)
