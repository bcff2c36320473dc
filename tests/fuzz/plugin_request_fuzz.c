/* tools/protoc-gen-weft: whatever a request holds is refused or generated from, protoc-gen-c's part aside. */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "emit.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    pool p;
    pool_init(&p);
    const proto_request *request = proto_parse(&p, data, len);
    if (request != NULL) {
        const char *problems = check_request(&p, request, false);
        FUZZ_REQUIRE(problems == NULL || problems[0] != '\0');
        for (size_t i = 0; i < request->n_proto_file; i++) {
            const char *header = emit_header(&p, request, request->proto_file[i]);
            const char *source = emit_source(&p, request, request->proto_file[i]);
            FUZZ_REQUIRE(strstr(header, "WEFT_BEGIN_DECLS") != NULL);
            FUZZ_REQUIRE(strstr(source, "const weft_file ") != NULL);
        }
    }
    pool_fini(&p);
    return 0;
}
