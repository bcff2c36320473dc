-- The users. email_key is the address with A to Z in lower case (user_email_key in user.h).
CREATE TABLE users (
    id            TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    name          TEXT NOT NULL CHECK (name <> ''),
    email         TEXT NOT NULL,
    email_key     TEXT NOT NULL UNIQUE,
    password_hash TEXT
) STRICT, WITHOUT ROWID;
