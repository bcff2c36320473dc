/* What is taken from a snapshot lies in it, behind its key. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "resolve/consul/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char key[] = "k";
    const char *text = len > 0 ? (const char *)data : "";
    weft_sv answer;
    if (weft__consul_snapshot_check(weft_sv_of(text, len), key, &answer) == 0) {
        FUZZ_REQUIRE(answer.data + answer.len == text + len);
        FUZZ_REQUIRE(memcmp(answer.data - sizeof key, "k\n", sizeof key) == 0);
    }
    return 0;
}
