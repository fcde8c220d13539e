CREATE TABLE orders (
  -- Made first, and so looked at first: an order that two replicas log at once is found to be there by
  -- its id, before its number could be taken for another order's.
  order_id uuid PRIMARY KEY,
  sale bigint NOT NULL UNIQUE CHECK (sale > 0),
  item_id bigint NOT NULL,
  title text NOT NULL,
  price double precision NOT NULL,
  -- ISO 8601, as the catalog recorded it.
  timestamp text NOT NULL
);

-- One row, once it is known which catalog the numbers of the sales belong to.
CREATE TABLE log (
  id integer PRIMARY KEY CHECK (id = 1),
  catalog_id uuid NOT NULL
);
