-- NOT VALID takes its lock for a moment only: new rows are checked from here on, old ones in the next migration.
ALTER TABLE customers ADD CONSTRAINT customers_email_check CHECK (email LIKE '_%@_%') NOT VALID;
