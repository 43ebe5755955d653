/* job LOG KIND [ARG...]: a job of a build that says in LOG when it starts and ends.
 *
 *   run COMMAND...     a command, a compiler say
 *   memory MIB MS      grows to so much memory over so long, and keeps it half as long
 *   sync FILE TIMES    writes 16 KiB to a file and waits until they are on the disk, so many times
 *   read FILE PASSES   reads the pages of a file in no order, so many times
 *   spin               keeps a cpu busy until whoever started it ends it, or ends; says nothing
 *
 * Lines: `S SECONDS PID` and `E SECONDS PID STATUS` of the monotonic clock; a status of 128 and more is a signal's. Who was
 * killed for want of memory is only counted: the build goes on. Doesn't know who started it, nor under which law. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, STEPS = 50, BLOCK = 16 * 1024 };

static int fail(const char *what)
{
    fprintf(stderr, "job: %s: %s\n", what, strerror(errno));
    return 1;
}

/* One write each, to a file that only grows: lines of many processes stay whole. */
static void say(const char *log, const char *format, int status)
{
    struct timespec t;
    char line[80];
    int fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    clock_gettime(CLOCK_MONOTONIC, &t);
    int length = snprintf(line, sizeof line, format, (long)t.tv_sec, t.tv_nsec / 1000, (int)getpid(), status);
    if (fd < 0 || write(fd, line, length) != length)
        exit(fail(log));
    close(fd);
}

static void rest(double ms)
{
    struct timespec t = { (time_t)(ms / 1000), (long)(ms * 1e6) % 1000000000 };

    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

static int memory(size_t bytes, double ms)
{
    char *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (all == MAP_FAILED)
        return fail("memory");
    for (int step = 0; step < STEPS; step++) {
        for (size_t at = bytes / STEPS * step; at < bytes / STEPS * (step + 1); at += PAGE)
            all[at] = 1;
        rest(ms / STEPS);
    }
    rest(ms / 2);
    return 0;
}

static int sync_often(const char *path, int times)
{
    static char block[BLOCK];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    while (fd >= 0 && times-- > 0)
        if (write(fd, block, BLOCK) != BLOCK || fsync(fd))
            return fail(path);
    return fd < 0 ? fail(path) : 0;
}

/* Mapped, as linkers do; each page adds a little work, so that what is cached keeps a cpu busy. */
static int read_often(const char *path, int passes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat is;
    unsigned long random = 1;
    volatile unsigned long sum = 0;  /* nobody asks for it, but it must be added up */

    if (fd < 0 || fstat(fd, &is))
        return fail(path);
    unsigned long *all = mmap(NULL, is.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (all == MAP_FAILED || madvise(all, is.st_size, MADV_RANDOM))
        return fail(path);
    size_t pages = is.st_size / PAGE, words = PAGE / sizeof *all;
    for (size_t i = 0; i < pages * passes; i++) {
        random = random * 6364136223846793005UL + 1442695040888963407UL;
        size_t page = (random >> 33) % pages;
        for (int again = 0; again < 4; again++)
            for (size_t word = 0; word < words; word++)
                sum += all[page * words + word];
    }
    return 0;
}

static int work(char **how, int count)
{
    if (!strcmp(how[0], "run") && count > 1) {
        execvp(how[1], how + 1);
        return fail(how[1]);
    }
    if (!strcmp(how[0], "memory") && count == 3)
        return memory(strtoul(how[1], NULL, 10) << 20, atof(how[2]));
    if (!strcmp(how[0], "sync") && count == 3)
        return sync_often(how[1], atoi(how[2]));
    if (!strcmp(how[0], "read") && count == 3)
        return read_often(how[1], atoi(how[2]));
    fprintf(stderr, "job: what is %s, with %d arguments?\n", how[0], count - 1);
    return 2;
}

int main(int argc, char **argv)
{
    int status;

    if (argc < 3)
        return fprintf(stderr, "usage: job LOG KIND [ARG...]\n"), 2;
    if (!strcmp(argv[2], "spin")) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            ;
    }
    say(argv[1], "S %ld.%06ld %d\n", 0);
    pid_t pid = fork();
    if (pid < 0)
        return fail("fork");
    if (!pid)
        _exit(work(argv + 2, argc - 2));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return fail("wait");
    status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    say(argv[1], "E %ld.%06ld %d %d\n", status);
    return status == 128 + SIGKILL ? 0 : status;
}
