CREATE VIEW order_totals AS
SELECT o.id AS order_id, o.customer_id, o.status, coalesce(sum(l.quantity * l.price_cents), 0) AS total_cents
FROM orders AS o
LEFT JOIN order_lines AS l ON l.order_id = o.id
GROUP BY o.id;
