DELETE FROM books WHERE isbn IN ('9780000000019', '9780000000026', '9780000000033');
DELETE FROM authors WHERE name IN ('Jane Austen', 'Mary Shelley', 'Jules Verne');
