/* `weft run` with services that do what the test's script says (actor.c). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/tool.h"

enum {
    LONGEST_MS = 60000
};

static char folder[64]; /* of the projects "alpha" and "be", which are built */

static const char *path_of(const char *project, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s/%s", folder, project, name);
    return path;
}

static void write_file(const char *project, const char *name, const char *content)
{
    FILE *file = fopen(path_of(project, name), "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static size_t starts_of(const char *project)
{
    struct stat file;
    return stat(path_of(project, "starts"), &file) == 0 ? (size_t)file.st_size : 0;
}

static void make_project(const char *name, const char *source)
{
    char cmake[512];
    char project[128];
    snprintf(project, sizeof project, "%s/%s", folder, name);
    assert_int_equal(mkdir(project, 0700), 0);
    snprintf(cmake, sizeof cmake,
             "cmake_minimum_required(VERSION 3.25)\nproject(%s C)\nadd_executable(%s-service \"%s\")\n", name, name,
             source);
    write_file(name, "CMakeLists.txt", cmake);
}

/* What a service does from now on. */
static void script(const char *project, const char *lines)
{
    write_file(project, "script", lines);
    (void)unlink(path_of(project, "starts"));
}

static void assert_said(const struct tool *tool, const char *what)
{
    if (!tool_said(tool, what))
        fail_msg("no \"%s\" in:\n%s", what, tool->text);
}

/* A fifo that ends when the service that holds it does. */
static int open_life(const char *project)
{
    const char *path = path_of(project, "life");
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int life = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(life >= 0);
    return life;
}

static void await_end_of_life(int life)
{
    struct pollfd fd = {.fd = life, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, LONGEST_MS), 1);
    assert_true((fd.revents & POLLHUP) != 0);
    close(life);
}

/* Both are built, by the command itself. */
static int set_up(void **state)
{
    struct tool tool;
    (void)state;
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    snprintf(folder, sizeof folder, "/tmp/weft-run-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_project("alpha", ACTOR);
    make_project("be", ACTOR);
    script("alpha", "print alpha is there\n");
    script("be", "print be is there\n");
    tool_start(&tool, folder, false, "run", "alpha", "be", NULL);
    int code = tool_end(&tool);
    if (code != 0)
        fail_msg("it ended with %d:\n%s", code, tool.text);
    assert_said(&tool, "alpha | alpha is there\n");
    assert_said(&tool, "be    | be is there\n");
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

static void what_changed_is_built_before_it_runs(void **state)
{
    struct tool tool;
    (void)state;
    make_project("fresh", "fresh.c");
    write_file("fresh", "fresh.c", "#include <stdio.h>\nint main(void) { puts(\"first\"); return 0; }\n");
    tool_start(&tool, path_of("fresh", ""), false, "run", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "building /tmp/");
    assert_said(&tool, "\nfirst\n");
    write_file("fresh", "fresh.c", "#include <stdio.h>\nint main(void) { puts(\"second\"); return 0; }\n");
    struct stat source;
    assert_int_equal(stat(path_of("fresh", "fresh.c"), &source), 0);
    tool_start(&tool, folder, false, "run", "fresh", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "\nsecond\n");
}

static void a_build_that_fails_shows_its_errors_and_nothing_runs(void **state)
{
    struct tool tool;
    (void)state;
    make_project("broken", "broken.c");
    write_file("broken", "broken.c", "int main(void) { return undeclared_thing; }\n");
    script("alpha", "print must not run\n");
    tool_start(&tool, folder, false, "run", "alpha", "broken", NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "undeclared_thing");
    assert_said(&tool, "broken does not build");
    assert_int_equal(starts_of("alpha"), 0);
}

static void a_configuration_that_failed_is_tried_again(void **state)
{
    struct tool tool;
    char cmake[512];
    (void)state;
    make_project("lame", ACTOR);
    FILE *file = fopen(path_of("lame", "CMakeLists.txt"), "r");
    assert_non_null(file);
    cmake[fread(cmake, 1, sizeof cmake - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    write_file(
        "lame", "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.25)\nproject(lame C)\nmessage(FATAL_ERROR \"something is missing\")\n");
    script("lame", "print lame walks\n");
    tool_start(&tool, folder, false, "run", "lame", NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "something is missing");
    write_file("lame", "CMakeLists.txt", cmake);
    tool_start(&tool, folder, false, "run", "lame", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "lame walks");
}

static void a_build_folder_that_was_copied_along_is_refused(void **state)
{
    struct tool tool;
    char cache[256];
    (void)state;
    make_project("copy", ACTOR);
    assert_int_equal(mkdir(path_of("copy", "build"), 0700), 0);
    snprintf(cache, sizeof cache, "CMAKE_PROJECT_NAME:STATIC=alpha\nCMAKE_HOME_DIRECTORY:INTERNAL=%s/alpha\n", folder);
    write_file("copy", "build/CMakeCache.txt", cache);
    tool_start(&tool, folder, false, "run", "copy", NULL);
    assert_int_equal(tool_end(&tool), 1);
    snprintf(cache, sizeof cache, "copy/build was made for %s/alpha: remove it", folder);
    assert_said(&tool, cache);
    write_file("copy", "build/CMakeCache.txt", "CMAKE_HOME_DIRECTORY:INTERNAL=/there/is/none\n");
    tool_start(&tool, folder, false, "run", "copy", NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "copy/build was made for /there/is/none: remove it");
}

static void mistakes_name_what_mends_them(void **state)
{
    struct tool tool;
    (void)state;
    tool_start(&tool, folder, false, "run", "nowhere", NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "nowhere/CMakeLists.txt: No such file or directory: name the folder of a service");
    make_project("unbuilt", ACTOR);
    tool_start(&tool, folder, false, "run", "--no-build", "unbuilt", NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "unbuilt is not built: run it without --no-build");
    tool_start(&tool, folder, false, "run", "alpha", "be", "--", "--check", NULL);
    assert_int_equal(tool_end(&tool), 2);
    assert_said(&tool, "what follows -- is for one service, not for 2");
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void what_follows_two_dashes_goes_to_the_program(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "arguments\nstdin\n");
    write_file("alpha", "alpha.yaml", "x: 1\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", "--", "--set", "a=b", "--no-build", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "argument --config\nargument alpha.yaml\nargument --set\nargument a=b\nargument --no-build\n"
                       "stdin has 0 bytes\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", "--", "--config", "other.yaml", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "argument --config\nargument other.yaml\nstdin");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", "--", "--config=other.yaml", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "argument --config=other.yaml\nstdin");
    assert_int_equal(unlink(path_of("alpha", "alpha.yaml")), 0);
}

static void who_dies_is_started_again_and_the_line_says_why(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "print alive\nexit 3\n");
    script("be", "signal 11\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", "be", NULL);
    tool_await(&tool, "weft  | alpha ended with code 3: started again in 200 ms\n");
    assert_said(&tool, "weft  | alpha ended with code 3: started again in 100 ms\n");
    tool_await(&tool, "alpha | alive\n");
    assert_true(starts_of("alpha") >= 3);
    script("alpha", "exit 2\n");
    tool_await(&tool, "weft  | alpha ended with code 2, a mistake in its command line or configuration");
    assert_said(&tool, "weft  | be was killed by signal 11 (Segmentation fault): started again in 100 ms\n");
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    assert_int_equal(tool_end(&tool), 1); /* for the mistake */
    assert_int_equal(starts_of("alpha"), 1);
}

static void when_nobody_is_left_it_ends(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "exit 2\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "weft: alpha ended with code 2, a mistake");
    script("alpha", "exit 0\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "weft: alpha ended with code 0: it is not started again\n");
}

static void a_fast_writer_does_not_starve_the_others(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "flood\n");
    script("be", "print here I am\nexit 1\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", "be", NULL);
    for (int i = 0; i < 3; i++)
        tool_await(&tool, "be    | here I am\n");
    tool_await(&tool, "alpha | flood\n");
    assert_int_equal(kill(tool.pid, SIGTERM), 0);
    assert_int_equal(tool_end(&tool), 0);
}

static void long_lines_are_cut_and_the_last_one_needs_no_end(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "long 100000\npartial the end\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "xxx … (cut)\nthe end\n");
    assert_true(tool.length < 5000);
}

static void a_terminal_gets_colours_and_a_log_for_the_eye(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "variable ALPHA_LOG_FORMAT\n");
    script("be", "print hello\n");
    tool_start(&tool, folder, true, "run", "--no-build", "alpha", "be", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "\033[36malpha |\033[0m ALPHA_LOG_FORMAT is text");
    assert_said(&tool, "\033[33mbe    |\033[0m hello");
    tool_start(&tool, folder, true, "run", "--no-build", "--raw", "alpha", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "ALPHA_LOG_FORMAT is unset");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "ALPHA_LOG_FORMAT is unset");
    setenv("NO_COLOR", "1", 1);
    setenv("ALPHA_LOG_FORMAT", "json", 1);
    tool_start(&tool, folder, true, "run", "--no-build", "alpha", "be", NULL);
    unsetenv("NO_COLOR");
    unsetenv("ALPHA_LOG_FORMAT");
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "alpha | ALPHA_LOG_FORMAT is json");
    assert_false(tool_said(&tool, "\033"));
}

/* ---- signals that its parent ignores ----------------------------------------------------------------------------- */

/* Without --no-build: CMake's end is heard of, too. */
static void it_hears_of_ends_where_its_parent_ignores_them(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "exit 3\n");
    signal(SIGCHLD, SIG_IGN);
    tool_start(&tool, folder, false, "run", "alpha", NULL);
    signal(SIGCHLD, SIG_DFL);
    tool_await(&tool, "alpha ended with code 3: started again in 200 ms\n");
    script("alpha", "drain\n");
    tool_await(&tool, "waiting\n");
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "drained\n");
}

/* As under nohup. */
static void a_hangup_that_its_parent_ignores_ends_nothing(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "exit 3\n");
    signal(SIGHUP, SIG_IGN);
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    signal(SIGHUP, SIG_DFL);
    tool_await(&tool, "started again in 100 ms\n");
    assert_int_equal(kill(tool.pid, SIGHUP), 0);
    script("alpha", "drain\n");
    tool_await(&tool, "waiting\n"); /* so it has gone on */
    assert_false(tool_said(&tool, "stopping"));
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "drained\n");
}

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

static void all_drain_before_it_ends(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "drain\n");
    script("be", "drain\nprint after\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", "be", NULL);
    tool_await(&tool, "waiting\n");
    tool_await(&tool, "waiting\n");
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "weft  | stopping; Ctrl-C again kills\n");
    assert_said(&tool, "alpha | drained\n");
    assert_said(&tool, "be    | drained\n");
    assert_said(&tool, "be    | after\n");
}

static void who_does_not_end_well_is_told(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "drain\nexit 4\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    tool_await(&tool, "waiting\n");
    assert_int_equal(kill(tool.pid, SIGTERM), 0);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "weft: alpha ended with code 4\n");
}

static void a_second_signal_kills_who_is_deaf(void **state)
{
    struct tool tool;
    (void)state;
    int life = open_life("alpha");
    script("alpha", "deaf\nhold life\nprint deaf\npause\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    tool_await(&tool, "deaf\n");
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    tool_await(&tool, "stopping");
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "weft: alpha was killed by signal 9 (Killed)\n");
    await_end_of_life(life);
}

static void a_pause_is_ended_by_a_signal(void **state)
{
    struct tool tool;
    (void)state;
    script("alpha", "exit 1\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    tool_await(&tool, "started again in 800 ms\n");
    assert_int_equal(kill(tool.pid, SIGTERM), 0);
    assert_int_equal(tool_end(&tool), 0);
}

static void nobody_outlives_a_tool_that_is_killed(void **state)
{
    struct tool tool;
    (void)state;
    int life = open_life("alpha");
    script("alpha", "deaf\nhold life\nprint deaf\npause\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    tool_await(&tool, "deaf\n");
    assert_int_equal(kill(tool.pid, SIGKILL), 0);
    await_end_of_life(life);
    assert_int_equal(tool_end(&tool), -SIGKILL);
}

static void when_nobody_reads_any_more_all_stop(void **state)
{
    struct tool tool;
    int status;
    (void)state;
    int life = open_life("alpha");
    script("alpha", "hold life\nflood\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    tool_await(&tool, "flood\n");
    close(tool.output);
    await_end_of_life(life);
    assert_int_equal(waitpid(tool.pid, &status, 0), tool.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void output_that_cannot_be_written_stops_all(void **state)
{
    static const char *const lost[] = {">/dev/full", "<&- >&-"};
    char command[512];
    (void)state;
    script("alpha", "print alpha is there\npause\n");
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) {
        snprintf(command, sizeof command, "cd %s && timeout -k 1 60 %s run --no-build alpha %s 2>said; test $? = 1",
                 folder, WEFT_TOOL, lost[i]);
        assert_int_equal(system(command), 0);
        snprintf(command, sizeof command, "grep -q '^weft: cannot write the output: ' %s/said", folder);
        assert_int_equal(system(command), 0);
    }
    snprintf(command, sizeof command, "timeout -k 1 60 %s --version 2>/dev/null >/dev/full; test $? = 1", WEFT_TOOL);
    assert_int_equal(system(command), 0);
}

static void a_reader_that_stands_still_does_not_keep_it_from_ending(void **state)
{
    struct tool tool;
    int status;
    (void)state;
    int life = open_life("alpha");
    script("alpha", "hold life\nflood\n");
    tool_start(&tool, folder, false, "run", "--no-build", "alpha", NULL);
    tool_await(&tool, "flood\n"); /* and no more is read */
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    await_end_of_life(life);
    assert_int_equal(kill(tool.pid, SIGTERM), 0);
    assert_int_equal(waitpid(tool.pid, &status, 0), tool.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(tool.output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changed_is_built_before_it_runs),
        cmocka_unit_test(a_build_that_fails_shows_its_errors_and_nothing_runs),
        cmocka_unit_test(a_configuration_that_failed_is_tried_again),
        cmocka_unit_test(a_build_folder_that_was_copied_along_is_refused),
        cmocka_unit_test(mistakes_name_what_mends_them),
        cmocka_unit_test(what_follows_two_dashes_goes_to_the_program),
        cmocka_unit_test(who_dies_is_started_again_and_the_line_says_why),
        cmocka_unit_test(when_nobody_is_left_it_ends),
        cmocka_unit_test(a_fast_writer_does_not_starve_the_others),
        cmocka_unit_test(long_lines_are_cut_and_the_last_one_needs_no_end),
        cmocka_unit_test(a_terminal_gets_colours_and_a_log_for_the_eye),
        cmocka_unit_test(it_hears_of_ends_where_its_parent_ignores_them),
        cmocka_unit_test(a_hangup_that_its_parent_ignores_ends_nothing),
        cmocka_unit_test(all_drain_before_it_ends),
        cmocka_unit_test(who_does_not_end_well_is_told),
        cmocka_unit_test(a_second_signal_kills_who_is_deaf),
        cmocka_unit_test(a_pause_is_ended_by_a_signal),
        cmocka_unit_test(nobody_outlives_a_tool_that_is_killed),
        cmocka_unit_test(when_nobody_reads_any_more_all_stop),
        cmocka_unit_test(output_that_cannot_be_written_stops_all),
        cmocka_unit_test(a_reader_that_stands_still_does_not_keep_it_from_ending),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
