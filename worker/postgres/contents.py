"""Stores the contents of published files: small ones together, a large one as a stream, without another copy of it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import asyncpg

from worker.postgres.queries import queries

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

_LARGE = 1024 * 1024
_PIECE = 256 * 1024
# The header of COPY's binary form: its signature, no flags, no extension; and its trailer.
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"


async def store(conn: "Connection[Record]", control: str, contents: Mapping[str, bytes]) -> None:
    """Store contents by their checksums, each once, inside the caller's transaction."""
    sql = queries("home", control)
    large = [checksum for checksum, content in contents.items() if len(content) > _LARGE]
    small = [checksum for checksum in contents if checksum not in large]
    if small:
        await conn.execute(sql["insert_files"], small, *as_one_value([contents[checksum] for checksum in small]))
    if large:
        stored = {row["checksum"] for row in await conn.fetch(sql["stored_files"], large)}
        for checksum in large:
            if checksum not in stored:
                await _stream(conn, control, checksum, contents[checksum])


def as_one_value(contents: Sequence[bytes]) -> tuple[bytes, list[str], list[str]]:
    """Contents one behind the other, where each of them begins, counted from 1, and how long it is."""
    places = accumulate(map(len, contents[:-1]), initial=1)
    return b"".join(contents), list(map(str, places)), [str(len(content)) for content in contents]


async def _stream(conn: "Connection[Record]", control: str, checksum: str, content: bytes) -> None:
    """COPY knows no ON CONFLICT: another line's publisher may store the same content meanwhile."""
    await conn.execute("SAVEPOINT tidegate_content")
    try:
        await conn.copy_to_table(
            "bundle_file",
            schema_name=control,
            columns=["checksum", "content"],
            format="binary",
            source=_row(checksum.encode(), content),
        )
    except asyncpg.UniqueViolationError:
        await conn.execute("ROLLBACK TO SAVEPOINT tidegate_content")


async def _row(checksum: bytes, content: bytes) -> AsyncIterator[bytes]:
    yield _HEADER + (2).to_bytes(2, "big") + _length(checksum) + checksum + _length(content)
    for at in range(0, len(content), _PIECE):
        yield content[at : at + _PIECE]
    yield _TRAILER


def _length(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big")
