/* srv.c: the answer section of a DNS message (RFC 1035, 4.1) and the SRV records in it (RFC 2782). */
#include "resolve/srv.h"

#include <sys/select.h> /* ares.h wants fd_set */

#include <ares.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "resolve/target.h"

#define HEADER_BYTES   12
#define QUESTION_BYTES 4  /* after the name: type, class */
#define RECORD_BYTES   10 /* after the name: type, class, ttl, length */
#define SRV_BYTES      6  /* before the target: priority, weight, port */
#define CLASS_IN       1
#define TYPE_SRV       33

struct reader {
    const unsigned char *data;
    size_t len;
    size_t at;
};

static uint16_t number_at(const struct reader *reader, size_t at)
{
    return (uint16_t)(reader->data[at] << 8 | reader->data[at + 1]);
}

/* Reads a name, which may point elsewhere in the message. @param out NULL: it is passed over. */
static int read_name(struct reader *reader, char out[256])
{
    char *name;
    long encoded;
    if (reader->at >= reader->len)
        return -EBADMSG;
    int status = ares_expand_name(reader->data + reader->at, reader->data, (int)reader->len, &name, &encoded);
    if (status != ARES_SUCCESS)
        return status == ARES_ENOMEM ? -ENOMEM : -EBADMSG;
    if (out != NULL && snprintf(out, 256, "%s", name) >= 256)
        out[0] = '\0'; /* escapes made it too long: no host is called so */
    ares_free_string(name);
    if ((size_t)encoded > reader->len - reader->at)
        return -EBADMSG;
    reader->at += (size_t)encoded;
    return 0;
}

/* Reads a record. @param is_srv whether it is one that counts. */
static int read_record(struct reader *reader, weft__srv *srv, uint32_t *ttl, bool *is_srv)
{
    int rc = read_name(reader, NULL);
    if (rc < 0)
        return rc;
    size_t at = reader->at;
    if (reader->len - at < RECORD_BYTES)
        return -EBADMSG;
    size_t data_at = at + RECORD_BYTES;
    size_t data_len = number_at(reader, at + 8);
    if (reader->len - data_at < data_len)
        return -EBADMSG;
    *ttl = (uint32_t)number_at(reader, at + 4) << 16 | number_at(reader, at + 6);
    *is_srv = number_at(reader, at) == TYPE_SRV && number_at(reader, at + 2) == CLASS_IN;
    reader->at = data_at + data_len;
    if (!*is_srv)
        return 0;
    if (data_len <= SRV_BYTES)
        return -EBADMSG;
    srv->priority = number_at(reader, data_at);
    srv->weight = number_at(reader, data_at + 2);
    srv->port = number_at(reader, data_at + 4);
    struct reader target = {reader->data, reader->len, data_at + SRV_BYTES};
    return read_name(&target, srv->host);
}

int weft__srv_parse(const unsigned char *answer, size_t len, weft__srv *out, size_t room, size_t *count, uint32_t *ttl)
{
    struct reader reader = {answer, len, HEADER_BYTES};
    size_t found = 0;
    uint32_t least = UINT32_MAX;
    if (len < HEADER_BYTES || len > INT_MAX)
        return -EBADMSG;
    for (unsigned left = number_at(&reader, 4); left > 0; left--) {
        int rc = read_name(&reader, NULL);
        if (rc < 0)
            return rc;
        if (len - reader.at < QUESTION_BYTES)
            return -EBADMSG;
        reader.at += QUESTION_BYTES;
    }
    for (unsigned left = number_at(&reader, 6); left > 0; left--) {
        weft__srv srv;
        uint32_t its_ttl;
        bool is_srv;
        int rc = read_record(&reader, &srv, &its_ttl, &is_srv);
        if (rc < 0)
            return rc;
        if (its_ttl < least)
            least = its_ttl; /* a CNAME's on the way there too */
        if (is_srv && srv.port != 0 && weft__is_name(srv.host, strlen(srv.host)) && found < room)
            out[found++] = srv;
    }
    *count = found;
    *ttl = least;
    return 0;
}
