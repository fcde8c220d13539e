-- The conservation law stands in the table itself: no statement can leave it broken.
CREATE TABLE books (
  id bigint PRIMARY KEY,
  title text NOT NULL,
  topic text NOT NULL,
  -- The form in which topics are compared, made by the service; in the order of its bytes, which is
  -- the same on every machine.
  folded_topic text COLLATE "C" NOT NULL,
  quantity integer NOT NULL CHECK (quantity >= 0),
  price double precision NOT NULL CHECK (price >= 0),
  stocked bigint NOT NULL,
  sold bigint NOT NULL CHECK (sold >= 0),
  CHECK (stocked = quantity + sold)
);

CREATE INDEX books_by_topic ON books (folded_topic, id);

-- One row. Whoever has it locked gives out the numbers of sales and the ids of new books, and keeps it
-- locked until the commit: so the numbers are in the order of commits, and none is ever left out.
CREATE TABLE shop (
  id integer PRIMARY KEY CHECK (id = 1),
  catalog_id uuid NOT NULL,
  last_sale bigint NOT NULL,
  -- How many outcomes there ever were.
  last_outcome bigint NOT NULL
);

-- What became of the operations that are remembered.
CREATE TABLE outcomes (
  id uuid PRIMARY KEY,
  -- 1, 2, 3, … in the order of commits.
  outcome bigint NOT NULL UNIQUE,
  kind text NOT NULL CHECK (kind IN ('sale', 'sold_out', 'change', 'addition')),
  item_id bigint NOT NULL,
  -- Milliseconds since 1970.
  at bigint NOT NULL,
  -- Of a sale: its number, and what its buyer was told.
  sale bigint UNIQUE,
  title text,
  price double precision,
  -- Of a change or an addition: the whole record, as the journal of the files has it.
  record text,
  CHECK (kind <> 'sale' OR (sale IS NOT NULL AND title IS NOT NULL AND price IS NOT NULL)),
  CHECK (kind NOT IN ('change', 'addition') OR record IS NOT NULL)
);
