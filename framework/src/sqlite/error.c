#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sqlite/database.h"

/* An error of SQLite, with its extended code and the error of the system behind it, if any. */
static int translate(int code, int os)
{
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
        return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ? -EEXIST : -EIO;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return os == EROFS || os == ENOSPC ? -os : -EIO;
    default: /* most of all SQLITE_IOERR; a full disk shows here too, where SQLite extends its shared memory */
        return os == ENOSPC || os == EDQUOT || os == EFBIG ? -ENOSPC : -EIO;
    }
}

int weft__sqlite_errno(sqlite3 *db)
{
    int rc = translate(sqlite3_extended_errcode(db), sqlite3_system_errno(db));
    return rc < 0 ? rc : -EIO;
}

int weft__sqlite_describe(sqlite3 *db, const char *what, char *error, size_t error_size)
{
    int os = sqlite3_system_errno(db);
    int code = sqlite3_extended_errcode(db) & 0xff;
    snprintf(error, error_size, "%s: %s", what, sqlite3_errmsg(db));
    /* Of the file itself. A transaction has no such errors: -ENOENT is a row that is not there. */
    if ((code == SQLITE_CANTOPEN || code == SQLITE_PERM) && (os == EACCES || os == ENOENT || os == EISDIR))
        return -os;
    if (code == SQLITE_CANTOPEN && (os == EMFILE || os == ENFILE)) {
        snprintf(error, error_size, "%s: %s", what, strerror(os));
        return -os;
    }
    return weft__sqlite_errno(db);
}
