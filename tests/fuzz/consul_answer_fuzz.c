/* What is read of an answer is usable: every address is one, and any choice among them is a part of them, in order. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "resolve/consul/answer.h"

static void check_choice(const weft__consul_answer *answer, const weft__consul_query *query)
{
    size_t count;
    weft_address *out = calloc(answer->count + 1, sizeof *out);
    if (out == NULL)
        return;
    FUZZ_REQUIRE(weft__consul_answer_select(answer, query, 1, out, &count) == 0);
    FUZZ_REQUIRE(count <= answer->count);
    FUZZ_REQUIRE(query->limit == 0 || count <= (size_t)query->limit);
    for (size_t i = 0; i < count; i++) {
        const char *address = out[i].address;
        FUZZ_REQUIRE(strncmp(address, "ipv4:", 5) == 0 || strncmp(address, "ipv6:[", 6) == 0 ||
                     strncmp(address, "unix:/", 6) == 0);
        FUZZ_REQUIRE(out[i].weight > 0);
        FUZZ_REQUIRE(i == 0 || query->near[0] != '\0' || strcmp(out[i - 1].address, address) < 0);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char reason[256];
    weft__consul_answer answer;
    if (weft__consul_answer_parse(&answer, (const char *)data, len, reason, sizeof reason) < 0)
        return 0;
    check_choice(&answer, &(weft__consul_query){.near = ""});
    check_choice(&answer, &(weft__consul_query){.near = "_agent", .limit = 2});
    check_choice(&answer,
                 &(weft__consul_query){.near = "", .limit = 1, .tags = {"v2"}, .tag_count = 1, .healthy = true});
    weft__consul_answer_fini(&answer);
    return 0;
}
