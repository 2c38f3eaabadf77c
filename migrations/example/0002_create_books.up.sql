CREATE TABLE authors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE books (
    isbn text PRIMARY KEY CHECK (isbn ~ '^[0-9]{13}$'),
    title text NOT NULL,
    price_cents integer NOT NULL CHECK (price_cents >= 0),
    in_stock integer NOT NULL DEFAULT 0 CHECK (in_stock >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE book_authors (
    isbn text NOT NULL REFERENCES books ON DELETE CASCADE,
    author_id bigint NOT NULL REFERENCES authors,
    PRIMARY KEY (isbn, author_id)
);

CREATE INDEX book_authors_author_id_idx ON book_authors (author_id);
