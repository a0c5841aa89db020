"""Which of many millions of ids stand more than once, in constant memory."""

from __future__ import annotations

import itertools
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

#: Of an id, the first of its bytes are compared; Flowroute's have 36.
ID_BYTES = 256
_HASH_BYTES = 8
#: Hashes sorted at a time: 4 MiB of them.
_AT_ONCE = 1 << 19
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


class Ids:
    """Ids with their 64-bit hashes, as they come, most of them on disk.

    Hashes that recur are found by sorting a part of them at a time. Different ids can share one, so the ids
    themselves have the last word.
    """

    def __init__(self) -> None:
        self._hashes = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by __exit__
        self._texts = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        self._parts: list[tuple[int, int]] = []

    def __enter__(self) -> Ids:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hashes.close()
        self._texts.close()

    def add(self, ids: HashedIds) -> None:
        """Take some more."""
        self._hashes.write(ids.hashes)
        self._texts.write(ids.texts)
        self._parts.append((len(ids.hashes) // _HASH_BYTES, ids.width))

    def repeated(self) -> list[str]:
        """Ids that stand more than once, those that came first first; a thousand at most."""
        suspects = self._suspects()
        if not suspects:
            return []
        seen: Counter[str] = Counter()
        self._hashes.seek(0)
        self._texts.seek(0)
        for rows, width in self._parts:
            texts = self._texts.read(rows * width)
            for row, hashed in enumerate(array("Q", self._hashes.read(rows * _HASH_BYTES))):
                if hashed in suspects:
                    seen[texts[row * width : (row + 1) * width].rstrip(b"\0").decode(errors="replace")] += 1
        return [text for text, times in seen.items() if times > 1]

    def _suspects(self) -> set[int]:
        count = sum(rows for rows, _ in self._parts)
        bits = (count // _AT_ONCE).bit_length()
        found: set[int] = set()
        for part in range(1 << bits):
            found.update(self._recurring(part, bits))
            if len(found) > _MOST_SUSPECTS:
                return set(sorted(found)[:_MOST_SUSPECTS])
        return found

    def _recurring(self, part: int, bits: int) -> set[int]:
        """Among the hashes that begin with the ``bits`` bits of ``part``, those that come more than once."""
        try:
            import numpy as np
        except ImportError:
            ordered = sorted(
                each for block in self._blocks() for each in array("Q", block) if each >> (64 - bits) == part
            )
            return {a for a, b in itertools.pairwise(ordered) if a == b}
        picked = [np.empty(0, np.uint64)]
        for block in self._blocks():
            some = np.frombuffer(block, np.uint64)
            picked.append(some[some >> np.uint64(64 - bits) == part] if bits else some)
        hashes = np.sort(np.concatenate(picked))
        return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())

    def _blocks(self) -> Iterator[bytes]:
        self._hashes.seek(0)
        while block := self._hashes.read(_AT_ONCE * _HASH_BYTES):
            yield block
