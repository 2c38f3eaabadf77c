"""Applies a folder's migrations under an advisory lock, where nobody has."""

import asyncio
import os
import sys

import asyncpg

from tests.bench.floor.folder import bodies, messages


async def main() -> None:
    texts = bodies(sys.argv[1])
    conn = await asyncpg.connect(os.environ["DATABASE_URL"])
    await conn.execute("SELECT pg_advisory_lock(1)")
    if await conn.fetchval("SELECT to_regclass('t1') IS NULL"):
        for message in messages(texts):
            await conn.execute(message)
    await conn.close()


if __name__ == "__main__":
    asyncio.run(main())
