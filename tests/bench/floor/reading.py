"""Reads and digests a folder's files, then connects and asks SELECT 1."""

import asyncio
import os
import sys

import asyncpg

from tests.bench.floor.folder import bodies


async def main() -> None:
    bodies(sys.argv[1])
    conn = await asyncpg.connect(os.environ["DATABASE_URL"])
    await conn.fetchval("SELECT 1")
    await conn.close()


if __name__ == "__main__":
    asyncio.run(main())
