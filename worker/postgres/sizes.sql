-- name: sizes
-- The tables that names mean, an index's name its table, with indexes, TOAST and partitions; what is not there is left
-- out. $1: schemas, "" where the search path decides; $2: names; $3: the schemas of the migrations' search path, in order.
SELECT n.schema, n.name, s.nspname::text AS table_schema, t.relname::text AS table_name, w.size_bytes, w.rows
FROM unnest($1::text[], $2::text[]) AS n (schema, name)
CROSS JOIN LATERAL (
    SELECT c.oid
    FROM pg_class AS c
    JOIN pg_namespace AS o ON o.oid = c.relnamespace
    WHERE c.relname = n.name AND o.nspname::text = ANY (CASE n.schema WHEN '' THEN $3::text[] ELSE ARRAY[n.schema] END)
    ORDER BY array_position($3::text[], o.nspname::text)
    LIMIT 1
) AS found
LEFT JOIN pg_index AS i ON i.indexrelid = found.oid
JOIN pg_class AS t ON t.oid = coalesce(i.indrelid, found.oid)
JOIN pg_namespace AS s ON s.oid = t.relnamespace
CROSS JOIN LATERAL (
    SELECT coalesce(sum(pg_total_relation_size(l.oid)), 0)::bigint AS size_bytes,
        CASE WHEN min(l.reltuples) >= 0 THEN sum(l.reltuples)::bigint END AS rows
    FROM pg_class AS l
    WHERE l.oid = t.oid AND t.relkind <> 'p'
        OR t.relkind = 'p' AND l.relkind <> 'p' AND l.oid IN (SELECT p.relid FROM pg_partition_tree(t.oid) AS p)
) AS w;
