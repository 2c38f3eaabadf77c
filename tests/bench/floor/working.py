"""A worker: told of a migration, runs it, says that it is there, and tells who waits; says READY once it listens."""

import asyncio
import os
import sys

import asyncpg


async def main() -> None:
    url, published = os.environ["DATABASE_URL"], asyncio.Event()
    listener, conn = await asyncpg.connect(url), await asyncpg.connect(url)
    await listener.add_listener("floor_published", lambda *_: published.set())
    sys.stdout.write("READY\n")
    sys.stdout.flush()
    while True:
        await published.wait()
        published.clear()
        row = await conn.fetchrow("SELECT label, body FROM floor_published ORDER BY label DESC LIMIT 1")
        assert row is not None
        label = int(row["label"])
        stated = f"INSERT INTO floor_ready VALUES ({label}); SELECT pg_notify('floor_ready', '{label}')"
        await conn.execute(f"BEGIN; {row['body']}; {stated}; COMMIT")


if __name__ == "__main__":
    asyncio.run(main())
