/* The engine: options, threads and their signals, gRPC core's log, large messages. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <grpc/support/log.h>
#include <weft/core.h>

#include "integration/seam/seam_suite.h"

static int make(int64_t threads, int64_t queues)
{
    weft_engine *engine = NULL;
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    options.threads = threads;
    options.queues = queues;
    int rc = weft_core_engine_new(&engine, &options);
    if (rc == 0)
        assert_int_equal(weft_engine_free(engine), 0);
    else
        assert_null(engine);
    return rc;
}

static void one_or_two_threads_a_queue(void **state)
{
    (void)state;
    assert_int_equal(make(0, 0), 0);
    assert_int_equal(make(1, 1), 0);
    assert_int_equal(make(5, 0), 0);
    assert_int_equal(make(0, 3), 0);
    assert_int_equal(make(4, 2), 0);
    assert_int_equal(make(3, 1), -EINVAL);
    assert_int_equal(make(1, 2), -EINVAL);
    assert_int_equal(make(-1, 0), -EINVAL);
    assert_int_equal(make(0, -1), -EINVAL);
    assert_int_equal(make(1 << 20, 0), -EINVAL);
}

static void options_may_be_left_out_but_not_uninitialized(void **state)
{
    (void)state;
    weft_engine *engine = NULL;
    weft_core_engine_options options;
    memset(&options, 0, sizeof options);
    assert_int_equal(weft_core_engine_new(&engine, &options), -EINVAL);
    assert_null(engine);
    assert_int_equal(weft_core_engine_new(&engine, NULL), 0);
    assert_int_equal(weft_engine_free(engine), 0);
    assert_int_equal(weft_engine_free(NULL), 0);
}

static void the_buffer_limit_is_a_megabyte_at_least(void **state)
{
    (void)state;
    weft_engine *engine = NULL;
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    options.max_buffered_bytes = (1 << 20) - 1;
    assert_int_equal(weft_core_engine_new(&engine, &options), -EINVAL);
    options.max_buffered_bytes = -2;
    assert_int_equal(weft_core_engine_new(&engine, &options), -EINVAL);
    options.max_buffered_bytes = -1;
    assert_int_equal(weft_core_engine_new(&engine, &options), 0);
    assert_int_equal(weft_engine_free(engine), 0);
}

static void two_engines_live_side_by_side(void **state)
{
    (void)state;
    weft_engine *first, *second;
    assert_int_equal(weft_core_engine_new(&first, NULL), 0);
    assert_int_equal(weft_core_engine_new(&second, NULL), 0);
    assert_int_equal(weft_engine_free(first), 0);
    assert_int_equal(weft_engine_free(second), 0);
}

static void a_forked_child_may_free_nothing(void **state)
{
    (void)state;
    weft_engine *engine;
    int status;
    assert_int_equal(weft_core_engine_new(&engine, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        if (weft_engine_free(engine) == -ECHILD)
            (void)raise(SIGKILL); /* so that valgrind does not look for leaks in what the fork has torn apart */
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(weft_engine_free(engine), 0);
}

/* What a line of /proc/…/status says, or "" . */
static void read_status(const char *task, const char *key, char *out, size_t size)
{
    char path[300];
    char line[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/status", task);
    FILE *file = fopen(path, "r");
    out[0] = '\0';
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            snprintf(out, size, "%.*s", (int)strcspn(line + strlen(key) + 2, "\n"), line + strlen(key) + 2);
    if (file != NULL)
        fclose(file);
}

static void no_signal_is_handled_on_a_thread_of_the_library(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    char own[64], name[64], blocked[64];
    int threads = 0;
    if (access("/proc/self/task", R_OK) != 0)
        skip();
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    seam_call_free(&seam, seam_unary_text(&seam, &seam_unary, "?", &result), &result);
    snprintf(name, sizeof name, "%d", (int)getpid());
    read_status(name, "Name", own, sizeof own);
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        read_status(task->d_name, "Name", name, sizeof name);
        if (task->d_name[0] == '.' || strcmp(name, own) == 0) /* the test's own */
            continue;
        read_status(task->d_name, "SigBlk", blocked, sizeof blocked);
        unsigned long long mask = strtoull(blocked, NULL, 16);
        for (int number = 1; number < 32; number++)
            if (number != SIGKILL && number != SIGSTOP && (mask >> (number - 1) & 1) == 0)
                fail_msg("%s takes signal %d", name, number);
        threads++;
    }
    closedir(tasks);
    assert_in_range(threads, 4, 100); /* ours, and gRPC core's */
    seam_stop(&seam);
}

static void grpc_cores_log_comes_to_ours(void **state)
{
    (void)state;
    int fds[2];
    char text[4096];
    weft_log *log;
    weft_engine *engine;
    weft_log_options log_options = WEFT_LOG_OPTIONS_INIT;
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    assert_int_equal(pipe(fds), 0);
    log_options.fd = fds[1];
    log_options.level = WEFT_LOG_DEBUG;
    assert_int_equal(weft_log_new(&log, &log_options), 0);
    options.log = log;
    assert_int_equal(weft_core_engine_new(&engine, &options), 0);
    gpr_log(GPR_ERROR, "a word from the core");
    assert_int_equal(weft_engine_free(engine), 0);
    weft_log_free(log);
    close(fds[1]);
    ssize_t size = read(fds[0], text, sizeof text - 1);
    assert_in_range(size, 1, sizeof text - 1);
    text[size] = '\0';
    close(fds[0]);
    assert_non_null(strstr(text, "a word from the core"));
    assert_non_null(strstr(text, "\"level\":\"warn\""));
    assert_non_null(strstr(text, "engine_test.c"));
}

static int lines_elsewhere;

static void count_line(gpr_log_func_args *line)
{
    (void)line;
    lines_elsewhere++;
}

static void a_program_may_keep_grpc_cores_log(void **state)
{
    (void)state;
    weft_engine *engine;
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    gpr_set_log_function(count_line);
    options.keep_grpc_log = true;
    assert_int_equal(weft_core_engine_new(&engine, &options), 0);
    lines_elsewhere = 0;
    gpr_log(GPR_ERROR, "to the program");
    assert_int_equal(lines_elsewhere, 1);
    assert_int_equal(weft_engine_free(engine), 0);
    gpr_log(GPR_ERROR, "still to the program");
    assert_int_equal(lines_elsewhere, 2);
    gpr_set_log_function(NULL);
}

static void a_message_too_large_to_be_framed_is_refused(void **state)
{
    (void)state;
    weft_engine *engine;
    weft__tx message;
    assert_int_equal(weft_core_engine_new(&engine, NULL), 0);
    assert_int_equal(engine->vtable->tx_alloc(engine, SIZE_MAX, &message), -ENOMEM);
    assert_int_equal(engine->vtable->tx_alloc(engine, (size_t)UINT32_MAX + 1, &message), -ENOMEM);
    static const size_t sizes[] = {0, 1, 23, 24, 64 * 1024, 64 * 1024 + 1, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(engine->vtable->tx_alloc(engine, sizes[i], &message), 0);
        assert_int_equal(message.len, sizes[i]);
        weft__tx moved = message; /* the bytes do not lie in the struct */
        memset(message.data, 1, sizes[i]);
        assert_ptr_equal(moved.data, message.data);
        engine->vtable->tx_ref(&moved);
        engine->vtable->tx_unref(&message);
        engine->vtable->tx_unref(&moved);
    }
    assert_int_equal(weft_engine_free(engine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_or_two_threads_a_queue),
        cmocka_unit_test(options_may_be_left_out_but_not_uninitialized),
        cmocka_unit_test(the_buffer_limit_is_a_megabyte_at_least),
        cmocka_unit_test(two_engines_live_side_by_side),
        cmocka_unit_test(a_forked_child_may_free_nothing),
        cmocka_unit_test(no_signal_is_handled_on_a_thread_of_the_library),
        cmocka_unit_test(grpc_cores_log_comes_to_ours),
        cmocka_unit_test(a_program_may_keep_grpc_cores_log),
        cmocka_unit_test(a_message_too_large_to_be_framed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
