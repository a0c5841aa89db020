"""Compare the rows of a landed window with those of a new export, in constant memory.

Each row becomes two 64-bit hashes: of its ``cdr_id`` and of all its values. Those of a large file are divided among
temporary files by the first of them, and compared file by file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_flowroute.landing.arrow import type_of
from airflow_provider_flowroute.landing.reconciliation import Totals

#: Reads the rows again with each call: all columns, or those with these names that there are.
Rows = Callable[[Sequence[str] | None], Iterable[pa.Table]]
#: The kinds of changes: a row of a new call, of a call that is gone, and of a call with other values.
KINDS = ("new", "gone", "changed")
#: IDs that are listed, at most.
MAX_IDS = 1000
#: Rows that are compared at a time.
_COMPARED = 1 << 20
_HASHES = np.dtype([("key", np.uint64), ("row", np.uint64)])


@dataclass(frozen=True)
class Difference:
    """The difference between landed rows and new ones. The differences of two parts can be added.

    :param rows: new rows minus landed rows.
    :param total_cost: the same for the cost in US dollars; None if one of them has no such column.
    :param billed_seconds: the same for ``billed_duration``.
    :param counts: the number of calls for each of :data:`KINDS`.
    :param cdr_ids: some of their IDs. Older files have no IDs.
    """

    rows: int = 0
    total_cost: Decimal | None = Decimal(0)
    billed_seconds: int | None = 0
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    cdr_ids: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.rows + other.rows,
            _combine(self.total_cost, other.total_cost, 1),
            _combine(self.billed_seconds, other.billed_seconds, 1),
            {kind: self.counts[kind] + other.counts[kind] for kind in KINDS},
            {kind: [*self.cdr_ids.get(kind, ()), *other.cdr_ids.get(kind, ())][:MAX_IDS] for kind in KINDS},
        )

    def __bool__(self) -> bool:
        """Return whether a row differs."""
        return any(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """Return the difference as JSON, with at most :data:`MAX_IDS` IDs. Amounts are text."""
        minutes = None if self.billed_seconds is None else f"{Decimal(self.billed_seconds) / 60:.2f}"
        listed, cdr_ids = MAX_IDS, {}
        for kind in KINDS:
            cdr_ids[kind] = list(self.cdr_ids.get(kind, ()))[:listed]
            listed -= len(cdr_ids[kind])
        return {
            "rows": self.rows,
            "total_cost": None if self.total_cost is None else f"{self.total_cost:.8f}",
            "billed_minutes": minutes,
            **self.counts,
            "cdr_ids": cdr_ids,
        }

    def __str__(self) -> str:
        """Return the difference in one line, for the log."""
        shown = self.as_json()
        return (
            f"{self.rows:+} rows, {shown['total_cost']} USD, {shown['billed_minutes']} billed minutes; "
            + ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS)
        )


def _combine(a: Any, b: Any, sign: int) -> Any:
    return None if a is None or b is None else a + sign * b


def compare(old: Rows, new: Rows, before: Totals, after: Totals) -> Difference:
    """Compare landed rows with new ones, whatever their order.

    Rows without a ``cdr_id`` have no identity: such a row with another value is one that is gone and one that is new.

    :param old: the landed rows.
    :param new: the rows of the new export.
    :param before: the totals of the landed rows.
    :param after: the totals of the new rows.
    """
    keys: dict[str, set[int]] = {kind: set() for kind in KINDS}
    counts = dict.fromkeys(KINDS, 0)
    with tempfile.TemporaryDirectory(prefix="flowroute-") as directory:
        buckets = 1 + (before.rows + after.rows) // _COMPARED
        for name, rows in (("old", old), ("new", new)):
            _write_hashes(rows, Path(directory, name), buckets)
        for number in range(buckets):
            found = _compare_hashes(*(_read_hashes(Path(directory, name), number) for name in ("old", "new")))
            for kind, (some, many) in found.items():
                counts[kind] += int(many.sum())
                keys[kind].update(some[: MAX_IDS - len(keys[kind])].tolist())
    return Difference(
        after.rows - before.rows,
        _combine(after.total_cost, before.total_cost, -1),
        _combine(after.billed_seconds, before.billed_seconds, -1),
        counts,
        {kind: _ids_of(keys[kind], old if kind == "gone" else new) for kind in KINDS},
    )


def _write_hashes(rows: Rows, path: Path, buckets: int) -> None:
    """Write the hashes of each row to the temporary file of its bucket."""
    for table in rows(None):
        hashes = np.empty(table.num_rows, _HASHES)
        hashes["row"] = sum(
            (_hash_column(name, table.column(name)) for name in table.column_names),
            np.zeros(table.num_rows, np.uint64),
        )
        hashes["key"] = hashes["row"]
        if "cdr_id" in table.column_names:
            keys = _hash_column("cdr_id", table.column("cdr_id"))
            hashes["key"] = np.where(keys == 0, hashes["row"], keys)
        numbers = hashes["key"] % np.uint64(buckets)
        for number in range(buckets):
            with path.with_name(f"{path.name}-{number}").open("ab") as file:
                file.write(hashes[numbers == number].tobytes())


def _read_hashes(path: Path, number: int) -> Any:
    path = path.with_name(f"{path.name}-{number}")
    return np.frombuffer(path.read_bytes() if path.exists() else b"", _HASHES)


def _hash_column(name: str, column: pa.ChunkedArray) -> Any:
    """Return a 64-bit hash of each value of a column; 0 for a null, so that a missing column has no effect."""
    array = column.combine_chunks()
    if array.type != type_of(name):
        array = array.cast(type_of(name))
    if array.null_count == len(array):
        return np.zeros(len(array), np.uint64)
    nulls = _buffer_of(array.is_null().cast(pa.uint8()), np.bool_)
    if pa.types.is_string(array.type):
        encoded = array.dictionary_encode()
        hashes = np.fromiter(map(hash, encoded.dictionary.to_pylist()), np.int64, len(encoded.dictionary))
        values = hashes[np.where(nulls, 0, _buffer_of(encoded.indices, np.int32))]
    elif pa.types.is_int32(array.type):
        values = _buffer_of(array, np.int32).astype(np.int64)
    else:  # a time, or the low half of an amount: the other half has only its sign
        width = array.type.bit_width // 64
        values = _buffer_of(array, np.dtype((np.int64, (width,)))).reshape(-1, width)[:, 0]
    mixed = _mix(np.ascontiguousarray(values).view(np.uint64) + np.uint64(hash(name) & 0xFFFFFFFFFFFFFFFF))
    return np.where(nulls, np.uint64(0), mixed)


def _buffer_of(array: pa.Array, kind: Any) -> Any:
    # Neither to_numpy() nor a scalar of pyarrow: they import pandas where it is installed.
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * np.dtype(kind).itemsize)


def _mix(values: Any) -> Any:
    """Spread 64-bit values, so that sums of them differ (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _compare_hashes(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Return, for each kind, the keys of the calls that differ, and for each key how many."""
    hashes = np.concatenate([old, new])
    signs = np.repeat(np.array([-1, 1], np.int64), [len(old), len(new)])
    order = np.lexsort((hashes["row"], hashes["key"]))
    hashes, signs = hashes[order], signs[order]
    # Equal rows of both sides cancel out, also if there are several.
    starts = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]][: len(hashes)])
    net = np.add.reduceat(signs, starts) if len(starts) else signs
    keys, net = hashes["key"][starts][net != 0], net[net != 0]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]][: len(keys)])
    if not len(starts):
        return {}
    added, removed = (np.add.reduceat(np.maximum(sign * net, 0), starts) for sign in (1, -1))
    changed = np.minimum(added, removed)
    many = {"new": added - changed, "gone": removed - changed, "changed": changed}
    return {kind: (keys[starts][number > 0], number[number > 0]) for kind, number in many.items()}


def _ids_of(keys: set[int], rows: Rows) -> list[str]:
    """Return the IDs with these hashes."""
    if not keys:
        return []
    found = (
        cdr_id
        for table in rows(["cdr_id"])
        if "cdr_id" in table.column_names
        for cdr_id, key in zip(
            table.column("cdr_id").to_pylist(),
            _hash_column("cdr_id", table.column("cdr_id")).tolist(),
            strict=True,
        )
        if key in keys and cdr_id is not None
    )
    return list(islice(dict.fromkeys(found), MAX_IDS))
