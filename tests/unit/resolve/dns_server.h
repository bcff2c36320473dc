/* A name server on 127.0.0.1, UDP and TCP on one port, that answers what a test tells it to. */
#ifndef WEFT_TEST_RESOLVE_DNS_SERVER_H
#define WEFT_TEST_RESOLVE_DNS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

enum dns_answer {
    DNS_RECORDS, /* those of the name and type; NODATA or NXDOMAIN when there are none */
    DNS_SILENCE, /* nothing at all */
    DNS_SERVFAIL,
    DNS_GARBAGE,   /* the question's number, and then noise */
    DNS_CUT,       /* a message that ends amid its records */
    DNS_TRUNCATED, /* by UDP only the mark that TCP has more */
};

struct dns_server;

struct dns_server *dns_server_start(void);
void dns_server_stop(struct dns_server *server);

uint16_t dns_server_port(const struct dns_server *server);

/* All questions from now on are answered so. */
void dns_server_answer(struct dns_server *server, enum dns_answer answer);

/* Questions for this name, or for this type of records, are answered so, unlike the others. */
void dns_server_answer_name(struct dns_server *server, const char *name, enum dns_answer answer);
void dns_server_answer_aaaa(struct dns_server *server, enum dns_answer answer);

/* Forgets all records. */
void dns_server_clear(struct dns_server *server);

/* Adds a record of a name: an address of either family, a name, or an SRV record. */
void dns_server_add(struct dns_server *server, const char *name, const char *address, uint32_t ttl);
void dns_server_add_cname(struct dns_server *server, const char *name, const char *other, uint32_t ttl);
void dns_server_add_srv(struct dns_server *server, const char *name, uint16_t priority, uint16_t weight, uint16_t port,
                        const char *host, uint32_t ttl);

/* How many questions have come, those for AAAA records aside: each of them has a twin. */
int dns_server_questions(struct dns_server *server);

/* Waits until so many have come. Ten seconds at most. */
void dns_server_expect_questions(struct dns_server *server, int questions);

/* How many came by TCP. */
int dns_server_tcp_questions(struct dns_server *server);

#endif
