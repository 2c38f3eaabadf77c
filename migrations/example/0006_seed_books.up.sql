INSERT INTO authors (name) VALUES ('Jane Austen'), ('Mary Shelley'), ('Jules Verne');

INSERT INTO books (isbn, title, price_cents, in_stock) VALUES
    ('9780000000019', 'Persuasion', 899, 12),
    ('9780000000026', 'Frankenstein; or, The Modern Prometheus', 999, 7),
    ('9780000000033', 'Vingt mille lieues sous les mers', 1250, 3);

INSERT INTO book_authors (isbn, author_id)
SELECT book.isbn, author.id
FROM (VALUES
    ('9780000000019', 'Jane Austen'),
    ('9780000000026', 'Mary Shelley'),
    ('9780000000033', 'Jules Verne')
) AS book (isbn, author_name)
JOIN authors AS author ON author.name = book.author_name;
