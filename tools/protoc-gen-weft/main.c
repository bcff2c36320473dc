/* protoc-gen-weft: what protoc runs for --weft_out. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weft/version.h>

#include "plugin.h"

static const char usage[] = "protoc-gen-weft makes C for Weft out of .proto files. protoc runs it:\n"
                            "\n"
                            "    protoc --weft_out=DIR user.proto\n"
                            "\n"
                            "makes user.pb-c.h and .c, the messages, by protoc-gen-c, which must be in PATH;\n"
                            "and user.weft.h and .c, the service: handlers, client calls, descriptors.\n"
                            "\n"
                            "Options (--weft_opt=…) are passed on to protoc-gen-c.\n"
                            "google/protobuf/*.proto and google/rpc/*.proto are left out: libweft has them.\n";

static int read_all(int fd, text *input)
{
    char chunk[65536];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got == 0)
            return 0;
        if (got > 0)
            text_add_bytes(input, chunk, (size_t)got);
        else if (errno != EINTR)
            return -errno;
    }
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno != EINTR)
            return -errno;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return 0;
}

static int serve_protoc(pool *p)
{
    text input = text_new(p);
    text answer = text_new(p);
    int rc = read_all(STDIN_FILENO, &input);
    if (rc < 0) {
        fprintf(stderr, "protoc-gen-weft: cannot read the request: %s\n", strerror(-rc));
        return 1;
    }
    rc = plugin_answer(p, (const uint8_t *)input.data, input.size, &answer);
    if (rc < 0) {
        fputs("protoc-gen-weft: stdin holds no CodeGeneratorRequest of protoc's\n", stderr);
        return 1;
    }
    rc = write_all(STDOUT_FILENO, answer.data, answer.size);
    if (rc < 0) {
        fprintf(stderr, "protoc-gen-weft: cannot write the answer: %s\n", strerror(-rc));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("protoc-gen-weft " WEFT_VERSION_STRING);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc > 1 || isatty(STDIN_FILENO)) {
        fputs(usage, stderr);
        return 2;
    }
    /* A protoc-gen-c or protoc that ends early is a failed write, not our end. */
    signal(SIGPIPE, SIG_IGN);
    pool p;
    pool_init(&p);
    int status = serve_protoc(&p);
    pool_fini(&p);
    return status;
}
