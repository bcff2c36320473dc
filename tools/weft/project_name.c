#include "project_name.h"

#include <stdlib.h>
#include <string.h>

#include "names.h"

/* Headers that ours or the system's include by a name without a folder, of which src/NAME.h would take the place.
 * Sorted. */
static const char *const headers[] = {
    "aio",      "alloca",   "argz",     "assert",   "byteswap", "cmocka",      "complex",  "cpio",     "crypt",
    "ctype",    "curses",   "dirent",   "dlfcn",    "elf",      "endian",      "envz",     "err",      "errno",
    "error",    "execinfo", "fcntl",    "features", "fenv",     "float",       "fmtmsg",   "fnmatch",  "fstab",
    "fts",      "ftw",      "getopt",   "glob",     "grp",      "iconv",       "ifaddrs",  "inttypes", "iso646",
    "langinfo", "libgen",   "libintl",  "limits",   "link",     "locale",      "malloc",   "math",     "mcheck",
    "memory",   "mntent",   "monetary", "mqueue",   "ndbm",     "netdb",       "obstack",  "paths",    "poll",
    "printf",   "pthread",  "pty",      "pwd",      "regex",    "resolv",      "sched",    "search",   "semaphore",
    "setjmp",   "sgtty",    "shadow",   "signal",   "spawn",    "sqlite3",     "stdalign", "stdarg",   "stdatomic",
    "stdbool",  "stddef",   "stdint",   "stdio",    "stdlib",   "stdnoreturn", "string",   "strings",  "stropts",
    "syscall",  "sysexits", "syslog",   "tar",      "termio",   "termios",     "tgmath",   "threads",  "time",
    "uchar",    "ucontext", "ulimit",   "unistd",   "utime",    "utmp",        "utmpx",    "varargs",  "wait",
    "wchar",    "wctype",   "wordexp",
};

/* Names that something else in a project, or in Weft, has. Sorted. */
static const char *const taken[] = {"google", "grpc", "main", "protobuf_c", "test", "tests", "weft"};

static int compare(const void *key, const void *element)
{
    return strcmp(key, *(const char *const *)element);
}

#define CONTAINS(list, name) (bsearch(name, list, sizeof list / sizeof list[0], sizeof list[0], compare) != NULL)

/* The letters, digits and separators of a name, whatever the locale. */
static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_separator(char c)
{
    return c == '_' || c == '-';
}

/* What is wrong with the letters of a name, or NULL. */
static const char *check_letters(pool *p, const char *name)
{
    size_t length = strlen(name);
    if (length == 0)
        return "is empty: a name has 1 to 40 letters";
    if (strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return "is a path: give the name alone, and the folder by --dir";
    for (const char *c = name; *c != '\0'; c++) {
        if (is_upper(*c))
            return "has upper-case letters: a name is in lower case";
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return "has a control character: a name has the letters a to z, digits, '_' and '-'";
        if ((unsigned char)*c >= 0x80)
            return "has a letter that is not ASCII: a name has the letters a to z, digits, '_' and '-'";
        if (!is_lower(*c) && !is_digit(*c) && !is_separator(*c))
            return pool_printf(p, "has a '%c': a name has the letters a to z, digits, '_' and '-'", *c);
    }
    if (!is_lower(name[0]))
        return "does not begin with a letter";
    for (const char *c = name; *c != '\0'; c++)
        if (is_separator(*c) && (c[1] == '\0' || is_separator(c[1])))
            return "has a '_' or '-' that no letter or digit follows";
    if (length > PROJECT_NAME_MAX)
        return "is too long: 40 letters at most";
    return NULL;
}

/* What else has this name, or NULL. */
static const char *check_clash(pool *p, const char *c_name)
{
    if (name_is_keyword(c_name))
        return "is a word of C or C++";
    if (CONTAINS(headers, c_name))
        return pool_printf(p, "is taken: <%s.h> is a header of the system", c_name);
    if (CONTAINS(taken, c_name) || strncmp(c_name, "weft_", strlen("weft_")) == 0)
        return "is taken: Weft, its libraries or the files of a project have it";
    return NULL;
}

static char *replaced(pool *p, const char *s, char from, char to)
{
    char *result = pool_printf(p, "%s", s);
    for (char *c = result; *c != '\0'; c++)
        if (*c == from)
            *c = to;
    return result;
}

bool project_name_parse(pool *p, const char *given, project_name *out, const char **why)
{
    *why = check_letters(p, given);
    const char *c_name = replaced(p, given, '-', '_');
    if (*why == NULL)
        *why = check_clash(p, c_name);
    if (*why != NULL)
        return false;
    *out = (project_name){
        .given = given,
        .c = c_name,
        .camel = name_type(p, c_name),
        .upper = name_upper(p, c_name),
        .dashed = replaced(p, given, '_', '-'),
    };
    return true;
}
