"""Find duplicate ``cdr_id`` values among many millions, in 8 bytes of memory for each."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

#: A file in which every call is a duplicate has millions; naming some of them is enough.
_MAX_CANDIDATES = 1000
#: Hashes that are compared at a time, so that the comparison itself takes little memory.
_COMPARED = 1 << 20


class DuplicateFinder:
    """Collect the hash of each ID, then confirm hashes that recur by the IDs themselves.

    Python's hash of a text has 64 bits: among 50 million different IDs the chance that two share one is below 1:10,000.
    """

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, table: pa.Table) -> None:
        """Add the ``cdr_id`` of each row that has one.

        :param table: rows of a file; its column may be missing.
        """
        self._hashes.extend(hash(cdr_id) for cdr_id in _ids(table))

    def candidates(self) -> set[int]:
        """Return hashes that recur, at most a thousand of them. No more IDs can be added afterwards."""
        hashes = np.frombuffer(self._hashes, np.int64)
        hashes.sort()
        found: set[int] = set()
        for begin in range(0, len(hashes), _COMPARED):
            some = hashes[begin : begin + _COMPARED + 1]
            found.update(some[1:][some[1:] == some[:-1]][:_MAX_CANDIDATES].tolist())
            if len(found) >= _MAX_CANDIDATES:
                break
        return found


def confirm(candidates: set[int], tables: Iterable[pa.Table]) -> list[str]:
    """Return the IDs that occur more than once, in the order of their first occurrence.

    :param candidates: from :meth:`DuplicateFinder.candidates`.
    :param tables: all rows again, with the column ``cdr_id``.
    """
    seen = Counter(cdr_id for table in tables for cdr_id in _ids(table) if hash(cdr_id) in candidates)
    return [cdr_id for cdr_id, count in seen.items() if count > 1]


def _ids(table: pa.Table) -> list[str]:
    if "cdr_id" not in table.column_names:
        return []
    ids: list[str] = table.column("cdr_id").drop_null().to_pylist()
    return ids
