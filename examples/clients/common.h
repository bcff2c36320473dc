/* clients/common.h: what the C clients share: how they end, and what they print, which those in other languages print
 * too. */
#ifndef EXAMPLES_CLIENTS_COMMON_H
#define EXAMPLES_CLIENTS_COMMON_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "user.weft.h"

/* Ends the program when it was called in a wrong way. */
static inline void expect(bool right, const char *usage)
{
    if (right)
        return;
    fprintf(stderr, "usage: %s\n", usage);
    exit(2);
}

/* Ends the program for what failed before anything was sent: a wrong address, no memory. */
static inline void check(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(-rc));
    exit(2);
}

/* Answers; NULL, which is that of a failed call, prints nothing. */
static inline void show_created(const User__CreateUserResponse *user)
{
    if (user != NULL)
        printf("created: %s %s <%s>\n", user->id, user->name, user->email);
}

static inline void show_got(const User__GetUserResponse *got)
{
    if (got != NULL && got->user != NULL)
        printf("got: %s %s <%s>\n", got->user->id, got->user->name, got->user->email);
}

static inline void show_page(int number, const User__ListUsersResponse *page)
{
    for (size_t i = 0; page != NULL && i < page->n_users; i++)
        printf("page %d: %s %s <%s>\n", number, page->users[i]->id, page->users[i]->name, page->users[i]->email);
}

/* How a call ended, unless it went well. Code and message are for people; programs act on the code and on the details,
 * here on the one that says what is missing. @return an exit code. */
static inline int show_failure(const weft_status *status, weft_arena *arena)
{
    ProtobufCMessage *detail = NULL;
    if (status->code == WEFT_OK)
        return 0;
    printf("%s: %s\n", weft_code_name(status->code), status->message);
    if (weft_status_detail(status, &google__rpc__resource_info__descriptor, arena, &detail) == 0) {
        const Google__Rpc__ResourceInfo *missing = (const Google__Rpc__ResourceInfo *)detail;
        printf("  ResourceInfo: %s %s\n", missing->resource_type, missing->resource_name);
    }
    return 1;
}

#endif
