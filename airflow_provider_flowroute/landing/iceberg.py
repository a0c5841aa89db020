"""Publish day files to an Iceberg table: one commit replaces the calls of a window. Needs the extra ``iceberg``."""

from __future__ import annotations

import logging
import re
import shutil
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
from pyiceberg import exceptions, types
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.io.pyarrow import MetricModeTypes, compute_statistics_plan
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.transforms import DayTransform, MonthTransform, YearTransform

from airflow_provider_flowroute.cdr.columns import (
    COLUMNS,
    MONEY,
    MONEY_PRECISION,
    MONEY_SCALE,
    SECONDS,
    TIMES,
)
from airflow_provider_flowroute.cdr.window import Window, zone_of
from airflow_provider_flowroute.exceptions import CdrExportLandingError, FlowrouteError, FlowrouteValueError
from airflow_provider_flowroute.landing.arrow import read_parquet
from airflow_provider_flowroute.landing.footer import Footer, parse_metadata
from airflow_provider_flowroute.landing.publish import landing_error

#: How much of a file an upload copies at a time, in bytes.
_COPY_BYTES = 8 << 20
_PERMANENT = (exceptions.ForbiddenError, exceptions.UnauthorizedError, exceptions.NotInstalledError)
#: The transforms of start_time whose partitions hold complete UTC days.
_PARTITIONS = (DayTransform, MonthTransform, YearTransform)
#: The units of the columns, as comments of the table's columns.
_DOCS = {
    **dict.fromkeys(TIMES, "UTC"),
    **dict.fromkeys(MONEY, "US dollars"),
    **dict.fromkeys(SECONDS, "seconds"),
    "cdr_id": "unique ID of the call",
}


def type_of(column: str) -> types.IcebergType:
    """Return the Iceberg type of a column; text for an unknown one."""
    if column in TIMES:
        return types.TimestamptzType()
    if column in MONEY:
        return types.DecimalType(MONEY_PRECISION, MONEY_SCALE)
    return types.IntegerType() if column in SECONDS else types.StringType()


def load_or_create_table(catalog: Catalog, identifier: str) -> Table:
    """Return a table. If it does not exist, create it, partitioned by the UTC day of ``start_time``.

    :param catalog: the catalog.
    :param identifier: ``namespace.name``. A missing namespace is created, too.
    :raises CdrExportLandingError: the catalog does not answer or refuses.
    """
    with catalog_errors():
        try:
            return catalog.load_table(identifier)
        except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError):
            pass
        schema = Schema(
            *(
                types.NestedField(number, name, type_of(name), required=False, doc=_DOCS.get(name))
                for number, name in enumerate(COLUMNS, start=1)
            )
        )
        day = PartitionField(
            source_id=schema.find_field("start_time").field_id,
            field_id=1000,
            transform=DayTransform(),
            name="start_time_day",
        )
        catalog.create_namespace_if_not_exists(Catalog.namespace_from(identifier))
        return catalog.create_table_if_not_exists(identifier, schema, partition_spec=PartitionSpec(day))


def check_table(table: Table, columns: Iterable[str] = COLUMNS) -> None:
    """Check that day files with these columns can be added to a table.

    :param table: the table.
    :param columns: the columns of the files.
    :raises FlowrouteValueError: a column has another type, the table requires a column, or it has other partitions.
    """
    name = ".".join(table.name())
    known = {field.name: field for field in table.schema().fields}
    for column in columns:
        field = known.pop(column, None)
        if field is not None:
            _check_column(name, field, type_of(column))
    for field in known.values():
        _check_column(name, field, None)
    for part in table.spec().fields:
        column = str(table.schema().find_column_name(part.source_id))
        if column != "start_time" or not isinstance(part.transform, _PARTITIONS):
            raise FlowrouteValueError(
                f"Table {name} has partitions that day files do not fit.\n"
                f"One is {part.transform} of {column}.\n"
                f"Partition the table by day, month or year of start_time, or choose another table."
            )
    # Without the smallest and the largest start_time of a file, its rows would belong to no day.
    plan = compute_statistics_plan(table.schema(), table.properties).values()
    mode = next((column.mode for column in plan if column.column_name == "start_time"), None)
    if mode is not None and mode.type in (MetricModeTypes.NONE, MetricModeTypes.COUNTS):
        raise FlowrouteValueError(
            f"Table {name} keeps no minimum and maximum of start_time.\n"
            f"Its properties set the metrics of start_time to {mode.type.value}.\n"
            f"Set the table's property write.metadata.metrics.column.start_time to full."
        )


def _check_column(table: str, field: types.NestedField, file_type: types.IcebergType | None) -> None:
    """Check one column of a table.

    :param file_type: the column's type in the files; None if they do not have it.
    """
    # pyiceberg adds no file with a narrower decimal.
    accepted = (file_type, types.LongType()) if file_type == types.IntegerType() else (file_type,)
    if not field.required and (file_type is None or field.field_type in accepted):
        return
    presence = "required" if field.required else "optional"
    raise FlowrouteValueError(
        f"Column {field.name} of table {table} does not fit the files.\n"
        f"The table has {presence} {field.field_type}; the files have "
        f"{'no such column' if file_type is None else f'optional {file_type}'}. Nothing was written.\n"
        f"Change the column, or choose another table."
    )


def has_calls(table: Table, window: Window) -> bool:
    """Return whether a table has calls of a window."""
    with catalog_errors():
        scan = table.scan(rows_of(window), selected_fields=("start_time",), limit=1)
        return "start_time" in table.schema().column_names and scan.to_arrow().num_rows > 0


def utc_days_of(window: Window) -> Mapping[date, Window]:
    """Return the UTC days of a window. The first and the last can be a part of a day.

    :param window: the window of an export.
    """
    return {
        day: Window(max(whole.start, window.start), min(whole.end, window.end))
        for day, whole in window.days(zone_of("UTC"))
    }


def replace_window(
    table: Table, window: Window, files: Iterable[Path], columns: Iterable[str], properties: Mapping[str, str]
) -> Snapshot:
    """Replace the calls of a window with those of some files, in one commit.

    A concurrent commit that touches the window since the table was loaded is a conflict. pyiceberg retries after
    other commits, as the table's properties ``commit.retry.*`` say.

    :param table: the table, as it was before the download.
    :param window: the window to delete. Each row of the files starts in it.
    :param files: local Parquet files of one UTC day each, with rows. Each gets a new name below the table's location.
    :param columns: the columns of the files. The table gets those that it lacks.
    :param properties: of the new snapshots, with ``flowroute.export_id``.
    :return: the snapshot with the new calls.
    :raises CdrExportLandingError: the files were not committed, or a lost response leaves that unknown. In both cases
        the window is completely old or completely new, and a retry replaces it.
    """
    export_id = properties["flowroute.export_id"]
    with catalog_errors(), ExitStack() as undo:
        landing = f"flowroute-{re.sub('[^A-Za-z0-9]', '-', export_id)}-{uuid.uuid4().hex}"
        locations = []
        for path in files:
            locations.append(table.location_provider().new_data_location(f"{path.stem}-{landing}.parquet"))
            undo.callback(_remove, table, locations[-1])
            _upload(table, path, locations[-1])
        transaction = table.transaction()
        if missing := [column for column in columns if column not in table.schema().column_names]:
            with transaction.update_schema() as update:
                for column in missing:
                    update.add_column(column, type_of(column), _DOCS.get(column))
        with _quiet():
            # Also if there is nothing to delete: it makes a concurrent landing of the window a conflict.
            transaction.delete(rows_of(window), dict(properties))
            transaction.add_files(locations, dict(properties), check_duplicate_files=False)
        # From here on the table may refer to the files, also if the commit's response is lost.
        undo = undo.pop_all()
        try:
            transaction.commit_transaction()
        except (CommitFailedException, ValidationException):
            undo.close()
            raise
    return next(
        snapshot
        for snapshot in ancestors_of(table.current_snapshot(), table.metadata)
        if snapshot.summary is not None and snapshot.summary["flowroute.export_id"] == export_id
    )


@dataclass(frozen=True)
class LandedWindow:
    """The calls that a landing added to a table, and that are still its calls of the window.

    :param snapshot_id: the ID of the landing's snapshot.
    :param footer: what the landing recorded in the snapshot.
    :param files: the data files of the window.
    """

    table: Table
    snapshot_id: int
    footer: Footer
    files: Sequence[DataFile]

    @property
    def size(self) -> int:
        """The bytes of the files."""
        return sum(file.file_size_in_bytes for file in self.files)

    def read(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read the calls in batches.

        :param columns: the names of the columns to read; None for all.
        """
        with catalog_errors(f"A file of table {'.'.join(self.table.name())} cannot be read."):
            for file in self.files:
                with self.table.io.new_input(file.file_path).open() as source:
                    yield from read_parquet(source, columns)  # type: ignore[arg-type]  # pyarrow reads streams


def landed_window(table: Table, window: Window) -> LandedWindow | None:
    """Return the newest landing of a window, if a table has exactly its calls there.

    :param table: the table.
    :param window: the window.
    :return: None if the window was not landed as a whole, did not match Flowroute's figures, or was changed since; also
        if its snapshot has expired.
    """
    with catalog_errors():
        for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
            properties = snapshot.summary.additional_properties if snapshot.summary is not None else {}
            footer = parse_metadata(properties)
            landed = footer and footer.window
            if not footer or not landed or landed.end <= window.start or window.end <= landed.start:
                continue
            if landed != window or not footer.is_comparable:
                return None
            tasks = list(table.scan(rows_of(window)).plan_files())
            # Another program may have added or deleted rows. Files that only overlap the window count completely:
            # then the numbers differ, and the window is landed again.
            rows = sum(task.file.record_count for task in tasks)
            if rows != footer.totals.rows or any(task.delete_files for task in tasks):
                return None
            return LandedWindow(table, snapshot.snapshot_id, footer, [task.file for task in tasks])
    return None


def rows_of(window: Window) -> str:
    """Return the row filter that selects the calls of a window."""
    return f"start_time >= '{window.start.isoformat()}' and start_time < '{window.end.isoformat()}'"


def _upload(table: Table, path: Path, location: str) -> None:
    with path.open("rb") as source, table.io.new_output(location).create() as target:
        shutil.copyfileobj(source, target, _COPY_BYTES)


def _remove(table: Table, location: str) -> None:
    with suppress(OSError):
        table.io.delete(location)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide two messages of pyiceberg that need no action: nothing to delete, and a column without statistics."""

    def is_needed(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("PyArrow statistics missing")

    reader = logging.getLogger("pyiceberg.io.pyarrow")
    reader.addFilter(is_needed)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Delete operation did not match any records")
            yield
    finally:
        reader.removeFilter(is_needed)


@contextmanager
def catalog_errors(what: str = "") -> Iterator[None]:
    """Turn the errors of a catalog and its storage into this package's.

    :param what: the first line of the message, if the error is not about a concurrent commit.
    :raises CdrExportLandingError: instead.
    """
    try:
        yield
    except FlowrouteError:
        raise
    except (CommitFailedException, ValidationException) as e:
        error = CdrExportLandingError(
            f"Another writer changed the table at the same time.\n{type(e).__name__}: {e}\n"
            f"A retry lands the window again."
        )
    # Everything, because each catalog and each storage raises the errors of its own library.
    except Exception as e:  # noqa: BLE001
        error = landing_error(e, what)
        error.transient &= not isinstance(
            e, exceptions.ForbiddenError | exceptions.UnauthorizedError | exceptions.NotInstalledError
        )
    else:
        return
    raise error
