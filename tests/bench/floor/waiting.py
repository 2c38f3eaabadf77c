"""A gate: ends once the label that it is given is ready; says READY once it listens and has looked."""

import asyncio
import os
import sys

import asyncpg


async def main() -> None:
    label, ready = sys.argv[2], asyncio.Event()
    conn = await asyncpg.connect(os.environ["DATABASE_URL"])
    await conn.add_listener("floor_ready", lambda *told: ready.set() if told[-1] == label else None)
    if not await conn.fetchval(f"SELECT EXISTS (SELECT FROM floor_ready WHERE label = {int(label)})"):
        sys.stdout.write("READY\n")
        sys.stdout.flush()
        await ready.wait()
    # As a gate does that nothing hangs on any more.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
