/* clients/calls.h: the calls of c-async and c-epoll, none of which waits. The two differ in where callbacks run. */
#ifndef EXAMPLES_CLIENTS_CALLS_H
#define EXAMPLES_CLIENTS_CALLS_H

#include <weft/weft.h>

struct calls {
    weft_channel *users;
    weft_call_options options;
    void (*ended)(struct calls *calls, int failed); /* called once for each of the functions below */
    int page_number;
};

void calls_create(struct calls *calls, char *name, char *email); /* and fetches the user */
void calls_get(struct calls *calls, char *id);
void calls_list(struct calls *calls, char *page_token); /* this page, "" for the first, and all that follow */

#endif
