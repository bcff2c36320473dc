/* weft/log.h */
#define _GNU_SOURCE /* posix_openpt */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"
#include "support/alloc_fault.h"
#include <weft/log.h>

static weft_log *make_log(int fd, weft_log_format format, int64_t max_queued_bytes, int64_t max_line_bytes)
{
    weft_log *log = NULL;
    weft_log_options options = WEFT_LOG_OPTIONS_INIT;

    options.fd = fd;
    options.format = format;
    options.max_queued_bytes = max_queued_bytes;
    options.max_line_bytes = max_line_bytes;
    assert_int_equal(weft_log_new(&log, &options), 0);
    return log;
}

/* A file without a name. */
static int make_file(void)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int fd = dup(fileno(file));
    assert_true(fd > 0);
    fclose(file);
    return fd;
}

/* Closes a file and returns what is in it, to be freed by the caller. */
static char *read_file(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    assert_true(size >= 0);
    char *text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)size, 0), size);
    close(fd);
    return text;
}

/* Skips a JSON string. @return what follows it, or NULL. */
static const char *skip_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at != '\\')
            continue;
        at++;
        if (*at == '\0' || strchr("\"\\bfnrtu", *at) == NULL || (*at == 'u' && strspn(at + 1, "0123456789abcdef") < 4))
            return NULL;
    }
    return at + 1;
}

/* Whether the text begins with a line that is one flat JSON object. */
static bool is_json_line(const char *at)
{
    if (*at++ != '{')
        return false;
    for (;;) {
        at = skip_string(at);
        if (at == NULL || *at++ != ':')
            return false;
        size_t plain = strspn(at, "0123456789+-.eEtrufalsn"); /* a number, true, false, null */
        at = *at == '"' ? skip_string(at) : plain > 0 ? at + plain : NULL;
        if (at == NULL)
            return false;
        if (*at == '}')
            return at[1] == '\n';
        if (*at++ != ',')
            return false;
    }
}

/* Counts the lines, each of which must be JSON. */
static size_t count_json_lines(const char *text)
{
    size_t lines = 0;

    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1, lines++) {
        if (!is_json_line(at))
            fail_msg("no JSON: %s", at);
    }
    return lines;
}

/* One line without its time, which it must begin with. */
static const char *behind_time(const char *line, const char *before, size_t digits)
{
    const char *at = line + strlen(before);
    const char pattern[] = "dddd-dd-ddTdd:dd:dd.";

    assert_memory_equal(line, before, strlen(before));
    for (size_t i = 0; pattern[i] != '\0'; i++, at++)
        assert_true(pattern[i] == 'd' ? *at >= '0' && *at <= '9' : *at == pattern[i]);
    assert_int_equal(strspn(at, "0123456789"), digits);
    return at + digits;
}

static void a_json_line_holds_time_level_message_and_fields(void **state)
{
    (void)state;
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 0, 0);

    weft_log_info(log, "listening",
                  WEFT_FIELDS(WEFT_STR("address", "127.0.0.1"), WEFT_INT("port", 50051), WEFT_DOUBLE("load", 0.5),
                              WEFT_BOOL("tls", false), WEFT_STR("none", NULL), WEFT_STR("empty", "")));
    weft_log_free(log);
    char *text = read_file(fd);
    assert_int_equal(count_json_lines(text), 1);
    assert_string_equal(behind_time(text, "{\"time\":\"", 9),
                        "Z\",\"level\":\"info\",\"msg\":\"listening\",\"address\":\"127.0.0.1\",\"port\":50051,"
                        "\"load\":0.5,\"tls\":false,\"none\":null,\"empty\":\"\"}\n");
    free(text);
}

static void a_text_line_quotes_only_what_needs_it(void **state)
{
    (void)state;
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_TEXT, 0, 0);

    weft_log_info(log, "listening on\nall",
                  WEFT_FIELDS(WEFT_STR("address", "127.0.0.1"), WEFT_INT("port", -1), WEFT_STR("a", "two words"),
                              WEFT_STR("b", "x=y"), WEFT_STR("c", ""), WEFT_STR("d", "say \"hi\"\n"),
                              WEFT_STR("e", NULL), WEFT_BOOL("f", true)));
    weft_log_free(log);
    char *text = read_file(fd);
    assert_string_equal(behind_time(text, "", 3),
                        "Z info  listening on\\nall address=127.0.0.1 port=-1 a=\"two words\" b=\"x=y\" c=\"\" "
                        "d=\"say \\\"hi\\\"\\n\" e=null f=true\n");
    free(text);
}

static void bytes_that_are_no_text_are_escaped(void **state)
{
    (void)state;
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 0, 0);

    weft_log_warn(log, "a\nb\x1b[2J",
                  WEFT_FIELDS(WEFT_STR("bad", "\xff\xc0\xaf"), WEFT_SVF("nul", weft_sv_of("x\0y", 3)),
                              WEFT_STR("good", "gr\xc3\xbc\xc3\x9f")));
    weft_log_free(log);
    char *text = read_file(fd);
    assert_int_equal(count_json_lines(text), 1);
    assert_non_null(strstr(text, "\"msg\":\"a\\nb\\u001b[2J\",\"bad\":\"\\ufffd\\ufffd\\ufffd\",\"nul\":\"x\\u0000y\","
                                 "\"good\":\"gr\xc3\xbc\xc3\x9f\"}\n"));
    free(text);
}

static void levels_below_the_logs_are_kept_out_and_can_change(void **state)
{
    (void)state;
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 0, 0);

    assert_false(weft_log_enabled(log, WEFT_LOG_DEBUG));
    assert_true(weft_log_enabled(log, WEFT_LOG_INFO));
    weft_log_debug(log, "no 1", WEFT_NO_FIELDS);
    weft_log_info(log, "yes 1", WEFT_NO_FIELDS);
    weft_log_set_level(log, WEFT_LOG_DEBUG);
    weft_log_debug(log, "yes 2", WEFT_NO_FIELDS);
    weft_log_set_level(log, WEFT_LOG_ERROR);
    weft_log_warn(log, "no 2", WEFT_NO_FIELDS);
    weft_log_error(log, "yes 3", WEFT_NO_FIELDS);
    weft_log_set_level(log, WEFT_LOG_OFF);
    assert_false(weft_log_enabled(log, WEFT_LOG_ERROR));
    assert_false(weft_log_enabled(log, WEFT_LOG_OFF));
    weft_log_error(log, "no 3", WEFT_NO_FIELDS);
    weft_log_write(log, WEFT_LOG_OFF, "no 4", WEFT_NO_FIELDS);
    weft_log_free(log);
    char *text = read_file(fd);
    assert_int_equal(count_json_lines(text), 3);
    assert_null(strstr(text, "\"no "));
    free(text);
}

static void no_log_takes_everything(void **state)
{
    (void)state;
    assert_false(weft_log_enabled(NULL, WEFT_LOG_ERROR));
    weft_log_error(NULL, "x", WEFT_NO_FIELDS);
    weft_log_set_level(NULL, WEFT_LOG_DEBUG);
    assert_int_equal(weft_log_dropped(NULL), 0);
    weft_log_free(NULL);
}

/* Message, then a text that grows byte by byte past the limit, in both formats. */
static void a_line_that_is_too_long_is_cut_and_stays_whole(void **state)
{
    (void)state;
    const size_t max_line = 256;
    char *long_text = calloc(1, 1001);

    assert_non_null(long_text);
    for (size_t i = 0; i < 1000; i += 5)
        memcpy(long_text + i, "\xe2\x82\xac\"x", 5); /* a character of three bytes, an escape of two, one byte */
    for (size_t len = 100; len < 300; len++) {
        int fd = make_file();
        weft_log *log = make_log(fd, len % 2 == 0 ? WEFT_LOG_JSON : WEFT_LOG_TEXT, 0, (int64_t)max_line);
        weft_log_info(log, "m", WEFT_FIELDS(WEFT_SVF("key", weft_sv_of(long_text, len)), WEFT_INT("port", 50051)));
        weft_log_free(log);
        char *text = read_file(fd);
        assert_true(strlen(text) <= max_line);
        assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
        bool whole =
            strstr(text, len % 2 == 0 ? "\"port\":50051" : "port=50051") != NULL; /* the time has digits, too */
        assert_true(whole == (strstr(text, "cut") == NULL));
        assert_true(whole || strlen(text) > max_line - 32);
        if (len % 2 == 0)
            assert_int_equal(count_json_lines(text), 1);
        if (len == 299)
            assert_false(whole);
        free(text);
    }
    free(long_text);
}

static void a_message_that_is_too_long_is_cut_too(void **state)
{
    (void)state;
    char *message = calloc(1, 100001);
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 0, 0);

    assert_non_null(message);
    memset(message, 'm', 100000);
    weft_log_info(log, message, WEFT_FIELDS(WEFT_INT("port", 50051)));
    weft_log_free(log);
    char *text = read_file(fd);
    assert_int_equal(count_json_lines(text), 1);
    assert_true(strlen(text) > 8100 && strlen(text) <= 8192);
    assert_string_equal(text + strlen(text) - 16, "mm\",\"cut\":true}\n");
    free(text);
    free(message);
}

static void a_short_line_allocates_nothing(void **state)
{
    (void)state;
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 0, 0);
    long before = weft_test_alloc_count();

    for (int i = 0; i < 100; i++)
        weft_log_info(log, "call", WEFT_FIELDS(WEFT_INT("i", i), WEFT_STR("method", "/user.UserService/GetUser")));
    assert_int_equal(weft_test_alloc_count(), before);
    weft_log_free(log);
    close(fd);
}

/* How many lines a text of whole lines holds, and how many more its reports say were dropped. */
static void tally(const char *text, uint64_t *lines, uint64_t *reported)
{
    *lines = 0;
    *reported = 0;
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
        const char *end = strchr(at, '\n');
        const char mark[] = "\"msg\":\"log lines dropped\",\"count\":";
        const char *report = strstr(at, mark);
        assert_true(is_json_line(at));
        if (report != NULL && report < end)
            *reported += strtoull(report + strlen(mark), NULL, 10);
        else
            (*lines)++;
    }
}

static void a_pipe_that_nobody_reads_costs_lines_but_no_time(void **state)
{
    (void)state;
    const uint64_t count = 5000; /* of about 100 bytes: more than the pipe and the ring hold */
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    weft_log *log = make_log(fds[1], WEFT_LOG_JSON, 16384, 0);
    char *text = calloc(1, 1 << 20);
    size_t len = 0;
    uint64_t lines = 0, reported = 0;

    assert_non_null(text);
    for (uint64_t i = 0; i < count; i++) /* would hang here */
        weft_log_info(log, "nobody listens to what I have to say", WEFT_FIELDS(WEFT_INT("i", i)));
    assert_true(weft_log_dropped(log) > 0);

    /* Now somebody reads: what was kept, and a report of the rest. */
    while (lines + reported < count) {
        ssize_t n = read(fds[0], text + len, (1 << 20) - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
        text[len] = '\0';
        if (text[len - 1] == '\n')
            tally(text, &lines, &reported);
    }
    assert_int_equal(lines + reported, count);
    assert_int_equal(weft_log_dropped(log), reported);
    weft_log_free(log);
    close(fds[0]);
    close(fds[1]);
    free(text);
}

static int64_t now_ns(void)
{
    weft__clock *clock = weft__clock_system();

    return clock->now_ns(clock);
}

static void freeing_a_log_waits_two_seconds_at_most_for_a_pipe(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    long before = weft_test_alloc_live();
    weft_log *log = make_log(fds[1], WEFT_LOG_JSON, 0, 0);

    for (int i = 0; i < 2000; i++)
        weft_log_info(log, "nobody listens to what I have to say", WEFT_FIELDS(WEFT_INT("i", i)));
    int64_t start_ns = now_ns();
    weft_log_free(log);
    assert_true(now_ns() - start_ns < INT64_C(10000000000)); /* on a machine that is busy with other things too */
    assert_int_equal(weft_test_alloc_live(), before);
    close(fds[0]);
    close(fds[1]);
}

/* A terminal says that it can be written to, and then blocks in the middle of a large write. */
static void freeing_a_log_does_not_wait_for_a_stuck_terminal(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        print_message("no pseudo terminals here\n");
        skip();
    }
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(terminal > 0);
    long before = weft_test_alloc_live();
    weft_log *log = make_log(terminal, WEFT_LOG_JSON, 0, 0);

    for (int i = 0; i < 2000; i++)
        weft_log_info(log, "nobody listens to what I have to say", WEFT_FIELDS(WEFT_INT("i", i)));
    int64_t start_ns = now_ns();
    weft_log_free(log);
    assert_true(now_ns() - start_ns < INT64_C(10000000000));
    close(master); /* lets go of the writer, which then frees what is left of the log */
    while (weft_test_alloc_live() != before)
        sched_yield();
    close(terminal);
}

static void wait_for_drops(const weft_log *log, uint64_t count)
{
    while (weft_log_dropped(log) < count) /* ctest ends a test that waits for ever */
        sched_yield();
    assert_int_equal(weft_log_dropped(log), count);
}

static void lines_for_a_full_disk_are_dropped_and_counted(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd > 0);
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 0, 0);

    for (int i = 0; i < 100; i++)
        weft_log_info(log, "x", WEFT_NO_FIELDS);
    wait_for_drops(log, 100);
    weft_log_free(log);
    close(fd);
}

static void a_reader_that_is_gone_kills_nobody(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    weft_log *log = make_log(fds[1], WEFT_LOG_JSON, 0, 0);

    close(fds[0]);
    weft_log_info(log, "x", WEFT_NO_FIELDS);
    wait_for_drops(log, 1); /* SIGPIPE would have ended the test */
    weft_log_free(log);
    close(fds[1]);
}

static void a_line_written_in_part_does_not_spoil_the_next(void **state)
{
    (void)state;
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 0, 0);
    struct rlimit before, small;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 40; /* less than a line */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    weft_log_info(log, "torn", WEFT_NO_FIELDS);
    wait_for_drops(log, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    weft_log_info(log, "whole", WEFT_NO_FIELDS);
    weft_log_free(log);

    char *text = read_file(fd);
    assert_int_equal(strcspn(text, "\n"), 40);
    const char *rest = text + 41;
    uint64_t lines, reported;
    tally(rest, &lines, &reported);
    assert_int_equal(lines, 1);
    assert_int_equal(reported, 1);
    assert_non_null(strstr(rest, "\"msg\":\"whole\"}\n"));
    free(text);
}

#define WRITERS    4
#define PER_WRITER 2000

static void *write_many(void *arg)
{
    for (int i = 0; i < PER_WRITER; i++)
        weft_log_info(arg, "busy", WEFT_FIELDS(WEFT_INT("i", i), WEFT_STR("text", "some text of some length")));
    return NULL;
}

static void lines_of_many_threads_do_not_mix(void **state)
{
    (void)state;
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 9001, 0); /* odd and small: lines wrap round, and some are dropped */
    pthread_t threads[WRITERS];
    uint64_t lines, reported;

    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(weft__thread_start(&threads[i], 0, "writer", write_many, log), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    uint64_t dropped = weft_log_dropped(log);
    weft_log_free(log);
    char *text = read_file(fd);
    tally(text, &lines, &reported);
    assert_int_equal(reported, dropped);
    assert_int_equal(lines + dropped, WRITERS * PER_WRITER);
    free(text);
}

static void senseless_options_are_refused(void **state)
{
    (void)state;
    weft_log_options bad[9];

    for (size_t i = 0; i < 9; i++)
        bad[i] = (weft_log_options)WEFT_LOG_OPTIONS_INIT;
    bad[0].struct_size = 0;
    bad[1].fd = -1;
    bad[2].level = (weft_log_level)6;
    bad[3].level = (weft_log_level)-1;
    bad[4].format = (weft_log_format)2;
    bad[5].max_line_bytes = 255;
    bad[6].max_line_bytes = -1;
    bad[7].max_queued_bytes = -1;
    bad[8].max_queued_bytes = 8191; /* less than a line */
    for (size_t i = 0; i < 9; i++) {
        weft_log *log = NULL;
        assert_int_equal(weft_log_new(&log, &bad[i]), -EINVAL);
        assert_null(log);
    }
}

static void the_defaults_make_a_log(void **state)
{
    (void)state;
    weft_log *log = NULL;

    assert_int_equal(weft_log_new(&log, NULL), 0);
    assert_true(weft_log_enabled(log, WEFT_LOG_INFO));
    weft_log_free(log);
}

static void a_thread_that_cannot_start_is_reported(void **state)
{
    (void)state;
    weft_log *log = NULL;
    long before = weft_test_alloc_live();

    weft_test_thread_fail_at(1);
    assert_int_equal(weft_log_new(&log, NULL), -EAGAIN);
    assert_null(log);
    assert_int_equal(weft_test_alloc_live(), before);
}

static void a_long_line_without_memory_is_dropped_and_counted(void **state)
{
    (void)state;
    int fd = make_file();
    weft_log *log = make_log(fd, WEFT_LOG_JSON, 0, 0);
    char message[3001];

    memset(message, 'm', sizeof message);
    message[3000] = '\0';
    weft_test_alloc_fail_at(1);
    weft_log_info(log, message, WEFT_NO_FIELDS);
    assert_true(weft_test_alloc_failed());
    weft_test_alloc_fail_at(0);
    assert_int_equal(weft_log_dropped(log), 1);
    weft_log_free(log);
    char *text = read_file(fd);
    assert_non_null(strstr(text, "\"msg\":\"log lines dropped\",\"count\":1}\n"));
    free(text);
}

static int make_and_free(void *context)
{
    weft_log *log = NULL;
    weft_log_options options = WEFT_LOG_OPTIONS_INIT;
    options.fd = *(int *)context;
    int rc = weft_log_new(&log, &options);

    if (rc == 0)
        weft_log_info(log, "x", WEFT_NO_FIELDS);
    weft_log_free(log);
    return rc;
}

static void every_failing_allocation_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    int fd = make_file();

    assert_int_equal(weft_test_oom_sweep(make_and_free, &fd), 4);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_line_holds_time_level_message_and_fields),
        cmocka_unit_test(a_text_line_quotes_only_what_needs_it),
        cmocka_unit_test(bytes_that_are_no_text_are_escaped),
        cmocka_unit_test(levels_below_the_logs_are_kept_out_and_can_change),
        cmocka_unit_test(no_log_takes_everything),
        cmocka_unit_test(a_line_that_is_too_long_is_cut_and_stays_whole),
        cmocka_unit_test(a_message_that_is_too_long_is_cut_too),
        cmocka_unit_test(a_short_line_allocates_nothing),
        cmocka_unit_test(a_pipe_that_nobody_reads_costs_lines_but_no_time),
        cmocka_unit_test(freeing_a_log_waits_two_seconds_at_most_for_a_pipe),
        cmocka_unit_test(freeing_a_log_does_not_wait_for_a_stuck_terminal),
        cmocka_unit_test(lines_for_a_full_disk_are_dropped_and_counted),
        cmocka_unit_test(a_reader_that_is_gone_kills_nobody),
        cmocka_unit_test(a_line_written_in_part_does_not_spoil_the_next),
        cmocka_unit_test(lines_of_many_threads_do_not_mix),
        cmocka_unit_test(senseless_options_are_refused),
        cmocka_unit_test(the_defaults_make_a_log),
        cmocka_unit_test(a_thread_that_cannot_start_is_reported),
        cmocka_unit_test(a_long_line_without_memory_is_dropped_and_counted),
        cmocka_unit_test(every_failing_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
