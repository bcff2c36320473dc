-- What has become of users, the last 10,000 times: positions ascend by one in the order of commits. Triggers write it, so
-- that nothing goes untold: neither what a process of the version before still does beside a new one, nor what is done by
-- hand.
CREATE TABLE user_changes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id  TEXT NOT NULL,
    change   INTEGER NOT NULL CHECK (change BETWEEN 1 AND 3), -- created, updated, deleted (user_change_kind)
    name     TEXT,                                            -- after the change; none of a user who was deleted
    email    TEXT
) STRICT;

CREATE TRIGGER user_created AFTER INSERT ON users BEGIN
    INSERT INTO user_changes (user_id, change, name, email) VALUES (NEW.id, 1, NEW.name, NEW.email);
END;

CREATE TRIGGER user_updated AFTER UPDATE ON users
WHEN (OLD.name, OLD.email, OLD.password_hash) IS NOT (NEW.name, NEW.email, NEW.password_hash) BEGIN
    INSERT INTO user_changes (user_id, change, name, email) VALUES (NEW.id, 2, NEW.name, NEW.email);
END;

CREATE TRIGGER user_deleted AFTER DELETE ON users BEGIN
    INSERT INTO user_changes (user_id, change) VALUES (OLD.id, 3);
END;

-- As many as USER_STORE_KEPT_CHANGES says in user_store.h.
CREATE TRIGGER user_changes_pruned AFTER INSERT ON user_changes BEGIN
    DELETE FROM user_changes WHERE position <= NEW.position - 10000;
END;
