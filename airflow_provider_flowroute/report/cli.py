"""The options of the command line."""

from __future__ import annotations

import click

from airflow_provider_flowroute.cdr.export import pluralize
from airflow_provider_flowroute.exceptions import FlowrouteError
from airflow_provider_flowroute.report.write import write_report


@click.command(context_settings={"show_default": True, "max_content_width": 100})
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--from", "start", metavar="DAY", help="The first day.  [default: the first landed day]")
@click.option(
    "--to", "end", metavar="DAY", help="The day after the last day.  [default: after the last landed day]"
)
@click.option(
    "--timezone", metavar="ZONE", default="UTC", help="The IANA name of the zone of days and hours."
)
@click.option("-o", "--output", metavar="FILE", default="report.html", help="The HTML file, or its URL.")
@click.option("--previous", metavar="FILE", help="An earlier report to compare with.")
def main(
    paths: tuple[str, ...],
    start: str | None,
    end: str | None,
    timezone: str,
    output: str,
    previous: str | None,
) -> None:
    """Write a report of landed Parquet files as one HTML file.

    PATH is a file, a folder, a glob in quotation marks, or a URL of Airflow's ObjectStoragePath.
    """
    try:
        data = write_report(paths, output, start, end, timezone, previous)
    except (FlowrouteError, OSError) as error:
        raise click.ClickException(str(error)) from error
    totals, incomplete = data.totals, len(data.incomplete_days)
    click.echo(
        f"{data.start} to {data.end}, {timezone}. Calls: {totals.calls:,}. Cost: {totals.cost:,f} USD."
    )
    click.echo(f"Landed and reconciled: {len(data.days) - incomplete} of {pluralize(len(data.days), 'day')}.")
    click.echo(f"Wrote {output}.")
