-- How often each name has been greeted.
CREATE TABLE greetings (
    name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
    count INTEGER NOT NULL CHECK (count > 0)
) STRICT, WITHOUT ROWID;
