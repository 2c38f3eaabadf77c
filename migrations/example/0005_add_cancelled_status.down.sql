-- An enum value cannot be dropped, so the type is made anew without it. Cancelled orders are removed.
DELETE FROM orders WHERE status = 'cancelled';
ALTER TABLE orders ALTER COLUMN status DROP DEFAULT;
ALTER TYPE order_status RENAME TO order_status_with_cancelled;
CREATE TYPE order_status AS ENUM ('placed', 'paid', 'sent');
ALTER TABLE orders ALTER COLUMN status TYPE order_status USING status::text::order_status;
ALTER TABLE orders ALTER COLUMN status SET DEFAULT 'placed';
DROP TYPE order_status_with_cancelled;
