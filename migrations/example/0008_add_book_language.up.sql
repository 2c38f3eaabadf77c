ALTER TABLE books ADD COLUMN language text NOT NULL DEFAULT 'en';

UPDATE books SET language = 'fr'
FROM book_authors JOIN authors ON authors.id = book_authors.author_id
WHERE books.isbn = book_authors.isbn AND authors.name = 'Jules Verne';
