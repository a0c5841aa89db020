"""Which of many millions of ids stand more than once, in little memory: 4 KiB for each time that some are added."""

from __future__ import annotations

import itertools
import tempfile
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple

#: Of an id, the first of its bytes are compared; Flowroute's have 36.
ID_BYTES = 256
_HASH_BYTES = 8
#: Hashes compared at a time: 4 MiB of them.
_AT_ONCE = 1 << 19
#: Hashes that share their first bits, so many, are a bucket; what is compared at a time is some buckets of each run.
#: With more than half a billion ids, a bucket alone is more than is meant to be compared at a time.
_BUCKET_BITS = 10
_BUCKETS = range(1 << (64 - _BUCKET_BITS), 1 << 64, 1 << (64 - _BUCKET_BITS))
#: Bytes kept in memory before they go to disk.
_IN_MEMORY = 4 << 20
#: Of suspects that are looked up: a file in which every call stands twice has millions.
_MOST_SUSPECTS = 1000


class HashedIds(NamedTuple):
    """Some ids, each with a hash.

    :param hashes: a 64-bit integer for each id, in this machine's order.
    :param texts: the ids as UTF-8, each cut or filled up with zero bytes to ``width``.
    :param width: bytes an id takes up in ``texts``, :data:`ID_BYTES` at most.
    """

    hashes: bytes
    texts: bytes | memoryview
    width: int


class _Run(NamedTuple):
    """What was added at a time."""

    rows: int
    width: int
    #: Of the sorted hashes, for each bucket.
    ends: Sequence[int]


class Ids:
    """Ids with their 64-bit hashes, as they come, most of them on disk.

    Hashes are sorted as they come, and in the end merged, a range of them at a time, to see which recur. Different ids
    can share one, so the ids themselves have the last word.
    """

    def __init__(self) -> None:
        self._files = ExitStack()
        self._hashes, self._sorted, self._texts = (
            self._files.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - closed by __exit__
            for _ in range(3)
        )
        self._runs: list[_Run] = []

    def __enter__(self) -> Ids:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._files.close()

    def add(self, ids: HashedIds) -> None:
        """Take some more."""
        in_order, ends = _in_order(ids.hashes)
        self._hashes.write(ids.hashes)
        self._sorted.write(in_order)
        self._texts.write(ids.texts)
        self._runs.append(_Run(len(ids.hashes) // _HASH_BYTES, ids.width, ends))

    def repeated(self) -> list[str]:
        """Ids that stand more than once, those that came first first; a thousand at most."""
        suspects = self._suspects()
        if not suspects:
            return []
        seen: Counter[str] = Counter()
        self._hashes.seek(0)
        self._texts.seek(0)
        for rows, width, _ in self._runs:
            texts = self._texts.read(rows * width)
            for row, hashed in enumerate(array("Q", self._hashes.read(rows * _HASH_BYTES))):
                if hashed in suspects:
                    seen[texts[row * width : (row + 1) * width].rstrip(b"\0").decode(errors="replace")] += 1
        return [text for text, times in seen.items() if times > 1]

    def _suspects(self) -> set[int]:
        count = sum(run.rows for run in self._runs)
        buckets = max(1, (1 << _BUCKET_BITS) >> (count // _AT_ONCE).bit_length())
        found: set[int] = set()
        for first in range(0, 1 << _BUCKET_BITS, buckets):
            found.update(_recurring(self._between(first, first + buckets)))
            if len(found) > _MOST_SUSPECTS:
                return set(sorted(found)[:_MOST_SUSPECTS])
        return found

    def _between(self, first: int, last: int) -> bytes:
        """The hashes in the buckets from ``first`` to before ``last``, run after run."""
        picked, begin = [], 0
        for run in self._runs:
            start = run.ends[first - 1] if first else 0
            self._sorted.seek((begin + start) * _HASH_BYTES)
            picked.append(self._sorted.read((run.ends[last - 1] - start) * _HASH_BYTES))
            begin += run.rows
        return b"".join(picked)


def _in_order(hashes: bytes) -> tuple[bytes | memoryview, Sequence[int]]:
    """Hashes, sorted, and where each bucket of them ends."""
    try:
        import numpy as np
    except ImportError:
        ordered = array("Q", sorted(array("Q", hashes)))
        return ordered.tobytes(), array(
            "I", [*(bisect_left(ordered, each) for each in _BUCKETS), len(ordered)]
        )
    some = np.sort(np.frombuffer(hashes, np.uint64))
    ends = np.searchsorted(some, np.array(_BUCKETS, np.uint64))
    return some.data, array("I", [*ends.tolist(), len(some)])


def _recurring(runs: bytes) -> set[int]:
    """Among the hashes of some sorted runs, those that come more than once."""
    try:
        import numpy as np
    except ImportError:
        return {a for a, b in itertools.pairwise(sorted(array("Q", runs))) if a == b}
    # Of numpy's ways of sorting the stable one makes use of runs.
    hashes = np.sort(np.frombuffer(runs, np.uint64), kind="stable")
    return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
