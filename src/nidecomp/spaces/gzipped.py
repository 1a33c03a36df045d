"""Compress to gzip in pieces: in several threads, with the same bytes for any number of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import islice

import numpy as np

# zlib and not ISA-L, which is used for reading: ISA-L compresses ten times as fast, but its bytes
# differed once in hundreds of runs for the same content. Below level 4, files of sparse maps are
# half as large again.
_LEVEL = 4
# Bytes that are compressed by themselves. Smaller pieces compress less well; with these, files are
# no larger than in one piece, as the codes fit each piece.
_PIECE = 1 << 18
# Pieces in memory for each thread.
_WAITING = 4
# Magic number, deflate, no flags, no time, no extra flags, Unix: as zlib writes it.
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
# An empty last block.
_END = b"\x03\0"


def gzipped(content: Iterable[bytes], n_threads: int = 1) -> Iterator[bytes]:
    """Yield the parts of a gzip file of one member, without name and time.

    Parameters
    ----------
    content : iterable of bytes
        What is compressed.
    n_threads : int
        The result does not depend on it.

    Yields
    ------
    bytes
    """
    yield _HEADER
    checksum = size = 0
    pieces = _pieces(content)
    with ThreadPoolExecutor(n_threads) as threads:
        waiting: list[tuple[bytes | memoryview, Future[bytes]]] = []
        while True:
            wanted = _WAITING * n_threads - len(waiting)
            waiting += [
                (piece, threads.submit(_deflated, piece)) for piece in islice(pieces, wanted)
            ]
            if not waiting:
                break
            piece, deflated = waiting.pop(0)
            checksum, size = zlib.crc32(piece, checksum), size + len(piece)
            yield deflated.result()
    yield _END + struct.pack("<LL", checksum, size % 2**32)


def _pieces(content: Iterable[bytes]) -> Iterator[memoryview]:
    for part in content:
        view = memoryview(part)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]


def _deflated(piece: memoryview) -> bytes:
    """Compress a piece so that others can follow it."""
    # Most of the images of sparse maps.
    if not np.frombuffer(piece, dtype=np.uint8).any():
        return _deflated_zeros(len(piece))
    return _deflate(piece)


@lru_cache(maxsize=16)
def _deflated_zeros(size: int) -> bytes:
    return _deflate(bytes(size))


def _deflate(piece: bytes | memoryview) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    # Ends at a whole byte, and the next piece begins a new block.
    return compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)
