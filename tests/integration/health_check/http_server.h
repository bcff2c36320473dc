/* health_check/http_server.h: an HTTP server that answers every request as a test says, on a thread of its own. */
#ifndef WEFT_TEST_HEALTH_CHECK_HTTP_SERVER_H
#define WEFT_TEST_HEALTH_CHECK_HTTP_SERVER_H

#include <stdint.h>

enum http_answer {
    HTTP_GOOD,    /* 200 */
    HTTP_PIECES,  /* 204, byte by byte */
    HTTP_ERROR,   /* 500 */
    HTTP_GARBAGE, /* no HTTP */
    HTTP_CUT,     /* half a status line */
    HTTP_SILENCE, /* nothing, until the client closes */
    HTTP_CLOSE    /* closes at once */
};

struct http_server;

/* Listens on 127.0.0.`host`; a port of 0 makes one up. NULL: the port is taken. */
struct http_server *http_server_start(int host, uint16_t port);
void http_server_stop(struct http_server *server);

uint16_t http_server_port(const struct http_server *server);

/* All requests from now on are answered so. */
void http_server_answer(struct http_server *server, enum http_answer answer);

/* How many requests, or connections that were not let speak, have come. */
int http_server_asked(struct http_server *server);

/* Connections that wait in silence. */
int http_server_waiting(struct http_server *server);

/* The latest request, up to 1023 bytes. */
void http_server_request(struct http_server *server, char out[1024]);

#endif
