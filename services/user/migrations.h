/* migrations.h: the files of migrations/, built into the program in the order of their numbers. */
#ifndef USER_MIGRATIONS_H
#define USER_MIGRATIONS_H

#include <stddef.h>

struct migration {
    const char *name; /* "0001_users.sql" */
    const char *sql;
};

/* user_migrations[n - 1] takes a database from schema version n - 1 to n. */
extern const struct migration user_migrations[];
extern const size_t user_migration_count;

#endif
