/* One job of scripts/soak: it stamps a log when it begins and when it ends, and makes its product in two steps.

       soak_job LOG NAME MS PRODUCT [STATUS]     takes that long; with a status it fails, and leaves no product
       soak_job LOG NAME -- COMMAND [ARG...]     lasts as long as the command

   A stamp is one write, "S NS PID NAME" or "E NS PID NAME", by CLOCK_MONOTONIC. It holds its token from before the
   first stamp until after the last. Knows nothing of jobservers. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int out;
static const char *name;

static struct timespec now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time;
}

static void stamp(char letter)
{
    char line[256];
    struct timespec time = now();
    int length = snprintf(line, sizeof line, "%c %lld%09ld %d %s\n", letter, (long long)time.tv_sec, time.tv_nsec,
                          getpid(), name);
    if (length < 0 || (size_t)length >= sizeof line || write(out, line, length) != length)
        _exit(99);
}

/* Stopped meanwhile, it isn't longer for that. */
static void pause_for(long ms)
{
    struct timespec end = now();
    end.tv_sec += ms / 1000;
    end.tv_nsec += ms % 1000 * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL))
        ;
}

static void put(int product, const char *text)
{
    if (write(product, text, strlen(text)) != (ssize_t)strlen(text))
        _exit(99);
}

static int make(long ms, const char *path, int status)
{
    int product = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (product < 0)
        return 99;
    put(product, "half\n");
    pause_for(ms);
    if (status)
        unlink(path);
    else
        put(product, "whole\n");
    close(product);
    return status;
}

/* What it started doesn't outlive it. */
static int last_as_long_as(char **command)
{
    int status;
    pid_t child = fork();
    if (child < 0)
        return 99;
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(command[0], command);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    int status;
    if (argc < 5)
        return 99;
    out = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    name = argv[2];
    if (out < 0)
        return 99;
    stamp('S');
    if (strcmp(argv[3], "--"))
        status = make(atol(argv[3]), argv[4], argc > 5 ? atoi(argv[5]) : 0);
    else
        status = last_as_long_as(argv + 4);
    stamp('E');
    return status;
}
