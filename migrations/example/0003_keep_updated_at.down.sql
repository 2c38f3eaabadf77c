DROP TRIGGER books_updated_at ON books;
DROP TRIGGER customers_updated_at ON customers;
DROP FUNCTION set_updated_at();
