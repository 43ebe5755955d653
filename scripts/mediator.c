/* The least a jobserver proxy must do: two pipes, a counter, an event loop. `bench` measures
 * jobgate against it, so that the price of a mediated pool isn't mistaken for the price of jobgate.
 *
 * usage: mediator N COMMAND [ARG...]      (N jobs: one on the implicit slot, N-1 tokens)
 *
 * Doesn't know limits, pressure, other trees, fifos, nor what to do when a tree loses a token. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Low descriptors belong to scripts (`exec 3>log`). */
enum { CHILD_R = 100, CHILD_W = 101 };

static int offer[2];    /* R: the tree reads tokens from it */
static int giveback[2]; /* W: the tree returns tokens into it */
static long tokens;     /* neither standing in R nor held by the tree */

static void die(const char *what)
{
    perror(what);
    exit(125);
}

static void make_pipes(void)
{
    if (pipe2(offer, O_CLOEXEC) < 0 || pipe2(giveback, O_CLOEXEC) < 0)
        die("mediator: pipe");
    /* In a pipe of one page a single byte fills the only buffer: its write end turns writable at
     * the moment the byte is taken, and epoll's edge says so. */
    if (fcntl(offer[1], F_SETPIPE_SZ, 4096) < 0)
        die("mediator: F_SETPIPE_SZ");
    /* Our ends only: the tree's ends are other descriptions, whose flags belong to the tree. */
    if (fcntl(offer[1], F_SETFL, O_NONBLOCK) < 0 || fcntl(giveback[0], F_SETFL, O_NONBLOCK) < 0)
        die("mediator: O_NONBLOCK");
}

static pid_t start(char **command, const sigset_t *mask)
{
    char flags[64];
    int status;
    pid_t child = fork();

    if (child < 0)
        die("mediator: fork");
    if (child > 0)
        return child;
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (dup2(offer[0], CHILD_R) < 0 || dup2(giveback[1], CHILD_W) < 0)
        die("mediator: dup2");
    snprintf(flags, sizeof flags, " -j --jobserver-auth=%d,%d", CHILD_R, CHILD_W);
    setenv("MAKEFLAGS", flags, 1);
    execvp(command[0], command);
    status = errno == ENOENT ? 127 : 126;
    perror(command[0]);
    _exit(status);
}

/* Offers the next token if none stands. The edge may be stale; what FIONREAD says is true. */
static void top_up(void)
{
    int standing;

    if (ioctl(offer[1], FIONREAD, &standing) < 0)
        die("mediator: FIONREAD");
    if (standing == 0 && tokens > 0 && write(offer[1], "+", 1) == 1)
        tokens--;
}

/* Any byte is a token: make returns '+', gcc 'G', others what they read. */
static void collect(void)
{
    char bytes[512];
    ssize_t n;

    while ((n = read(giveback[0], bytes, sizeof bytes)) > 0)
        tokens += n;
}

/* Edge-triggered, also for W: `collect` reads until it is empty. */
static void watch(int epoll, int fd, unsigned events)
{
    struct epoll_event event = { .events = events | EPOLLET, .data.fd = fd };

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("mediator: epoll_ctl");
}

/* True once the command itself has ended; SIGCHLDs of others are merged into one. */
static int ended(int signals, pid_t child, int *status)
{
    struct signalfd_siginfo info;

    while (read(signals, &info, sizeof info) > 0)
        ;
    return waitpid(child, status, WNOHANG) == child;
}

static int serve(int signals, pid_t child)
{
    struct epoll_event events[4];
    int epoll = epoll_create1(EPOLL_CLOEXEC), status;

    watch(epoll, signals, EPOLLIN);
    watch(epoll, giveback[0], EPOLLIN);
    watch(epoll, offer[1], EPOLLOUT);
    for (;;) {
        int n = epoll_wait(epoll, events, 4, -1);

        if (n < 0 && errno != EINTR)
            die("mediator: epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == giveback[0])
                collect();
            else if (events[i].data.fd == signals && ended(signals, child, &status))
                return status;
        }
        top_up();
    }
}

int main(int argc, char **argv)
{
    sigset_t chld, before;
    int signals, status;

    if (argc < 3 || (tokens = atol(argv[1]) - 1) < 0) {
        fprintf(stderr, "usage: mediator N COMMAND [ARG...]\n");
        return 125;
    }
    /* Blocked before the fork, else an early death goes unseen. */
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, &before);
    signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        die("mediator: signalfd");
    make_pipes();
    status = serve(signals, start(argv + 2, &before));
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
