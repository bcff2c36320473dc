-- The orders. Amounts are in the smallest unit of the currency; status is a number of enum order_status (order.h).
CREATE TABLE orders (
    id              TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    user_id         TEXT NOT NULL CHECK (length(user_id) = 36),
    idempotency_key TEXT NOT NULL CHECK (idempotency_key <> ''),
    currency_code   TEXT NOT NULL CHECK (length(currency_code) = 3),
    total           INTEGER NOT NULL CHECK (total >= 0),
    status          INTEGER NOT NULL,
    created_at_ns   INTEGER NOT NULL,
    UNIQUE (user_id, idempotency_key)
) STRICT, WITHOUT ROWID;

-- The orders of a user, the newest first.
CREATE INDEX orders_of_user ON orders (user_id, id);

CREATE TABLE order_items (
    order_id   TEXT NOT NULL REFERENCES orders (id),
    number     INTEGER NOT NULL,
    product_id TEXT NOT NULL CHECK (product_id <> ''),
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    price      INTEGER NOT NULL CHECK (price >= 0),
    PRIMARY KEY (order_id, number)
) STRICT, WITHOUT ROWID;

-- What has become of orders, the last 10,000 times: positions ascend by one in the order of commits.
CREATE TABLE order_changes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL REFERENCES orders (id),
    status   INTEGER NOT NULL
) STRICT;
