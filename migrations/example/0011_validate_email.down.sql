-- There is no way back to NOT VALID but to make the constraint anew.
ALTER TABLE customers DROP CONSTRAINT customers_email_check;
ALTER TABLE customers ADD CONSTRAINT customers_email_check CHECK (email LIKE '_%@_%') NOT VALID;
