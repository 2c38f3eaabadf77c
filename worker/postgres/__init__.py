"""Everything that speaks to Postgres: connections, the lock and the fence, and the queries of both halves."""
