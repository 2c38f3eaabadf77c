"""Applies a folder's migrations in each schema that a query names, on so many connections."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence

import asyncpg

from tests.bench.floor.folder import bodies, messages


async def _bring(schemas: Iterator[str], texts: Sequence[str]) -> None:
    conn = await asyncpg.connect(os.environ["DATABASE_URL"])
    for schema in schemas:
        await conn.execute(f'SET search_path = "{schema}"')
        for message in messages(texts):
            await conn.execute(message)
    await conn.close()


async def main() -> None:
    folder, query, connections = sys.argv[1:]
    texts = bodies(folder)
    conn = await asyncpg.connect(os.environ["DATABASE_URL"])
    schemas = iter([str(row[0]) for row in await conn.fetch(query)])
    await conn.close()
    await asyncio.gather(*(_bring(schemas, texts) for _ in range(int(connections))))


if __name__ == "__main__":
    asyncio.run(main())
