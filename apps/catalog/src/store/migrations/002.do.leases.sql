-- The gateways that may keep answers. It has no times in it: no two clocks agree.
CREATE TABLE leases (
  -- The gateway process, under an id that it made up at its start.
  instance uuid PRIMARY KEY,
  epoch uuid NOT NULL,
  url text NOT NULL,
  evicting boolean NOT NULL
);

-- Changes that are committed, and that perhaps not every gateway has been told of: written with the
-- change, and taken away when all have been.
CREATE TABLE announcements (
  batch uuid PRIMARY KEY,
  books bigint[] NOT NULL,
  titles boolean NOT NULL
);
