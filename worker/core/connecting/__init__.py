"""Connection strings and password files, read as libpq reads them."""
