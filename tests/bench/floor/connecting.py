"""Connects and asks SELECT 1."""

import asyncio
import os

import asyncpg


async def main() -> None:
    conn = await asyncpg.connect(os.environ["DATABASE_URL"])
    await conn.fetchval("SELECT 1")
    await conn.close()


if __name__ == "__main__":
    asyncio.run(main())
