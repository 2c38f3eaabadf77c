-- Built without blocking writes. It must be the only statement of its file, as it cannot run in a transaction.
CREATE INDEX CONCURRENTLY orders_customer_id_placed_at_idx ON orders (customer_id, placed_at DESC);
