-- A value of its own file: PostgreSQL refuses to use a new enum value in the transaction that adds it.
ALTER TYPE order_status ADD VALUE 'cancelled';
