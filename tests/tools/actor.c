/* A service that does what the file "script" in its folder says, a line at a time. Each start adds a byte to "starts".
 *
 *     print TEXT      writes a line
 *     partial TEXT    the same without its end
 *     long N          writes a line of N letters
 *     flood           writes lines without an end
 *     arguments       writes each of its arguments in a line
 *     variable NAME   writes an environment variable
 *     stdin           writes how many bytes its standard input has
 *     exit N          ends with this code
 *     signal N        kills itself
 *     hold FIFO       has it open for writing from now on, so that who reads it sees the end
 *     deaf            ignores SIGTERM and SIGINT from now on
 *     pause           does nothing more
 *     drain           waits for SIGTERM, writes "drained", goes on
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number_of(const char *argument)
{
    return (int)strtol(argument, NULL, 10);
}

static void count_start(void)
{
    int fd = open("starts", O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0 || write(fd, ".", 1) != 1)
        exit(70);
    close(fd);
}

static void drain(void)
{
    sigset_t terms;
    int number;
    sigemptyset(&terms);
    sigaddset(&terms, SIGTERM);
    sigaddset(&terms, SIGINT);
    sigprocmask(SIG_BLOCK, &terms, NULL);
    puts("waiting");
    fflush(stdout);
    do
        sigwait(&terms, &number);
    while (number != SIGTERM);
    puts("drained");
}

static void print_long(int size)
{
    while (size-- > 0)
        putchar('x');
    putchar('\n');
}

static void print_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("argument %s\n", argv[i]);
}

static void print_input(void)
{
    int size = 0;
    while (getchar() != EOF)
        size++;
    printf("stdin has %d bytes\n", size);
}

static void print_variable(const char *name)
{
    const char *value = getenv(name);
    printf("%s is %s\n", name, value != NULL ? value : "unset");
}

int main(int argc, char **argv)
{
    char line[256];
    FILE *script = fopen("script", "r");
    count_start();
    while (script != NULL && fgets(line, sizeof line, script) != NULL) {
        char *argument = line + strcspn(line, " \n");
        line[strcspn(line, "\n")] = '\0';
        if (*argument != '\0')
            *argument++ = '\0';
        if (strcmp(line, "print") == 0)
            puts(argument);
        else if (strcmp(line, "partial") == 0)
            fputs(argument, stdout);
        else if (strcmp(line, "long") == 0)
            print_long(number_of(argument));
        else if (strcmp(line, "arguments") == 0)
            print_arguments(argc, argv);
        else if (strcmp(line, "variable") == 0)
            print_variable(argument);
        else if (strcmp(line, "stdin") == 0)
            print_input();
        else if (strcmp(line, "hold") == 0 && open(argument, O_WRONLY) < 0)
            return 70;
        else if (strcmp(line, "drain") == 0)
            drain();
        fflush(stdout);
        while (strcmp(line, "flood") == 0)
            if (puts("flood") == EOF)
                return 1;
        if (strcmp(line, "exit") == 0)
            return number_of(argument);
        if (strcmp(line, "signal") == 0)
            raise(number_of(argument));
        if (strcmp(line, "deaf") == 0) {
            signal(SIGTERM, SIG_IGN);
            signal(SIGINT, SIG_IGN);
        }
        if (strcmp(line, "pause") == 0)
            pause();
    }
    return 0;
}
