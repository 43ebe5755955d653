/* churn TOKENS A_SECOND full|wandering FILE: a client of a pipe pair that takes and returns so often a second, until
 * it is ended, and keeps its takings and returns as text in FILE.
 *
 * full: has all it can get, up to TOKENS; a job that ends is followed by another at once.
 * wandering: has now more, now fewer, between none and TOKENS.
 * Each job is a thread that does nothing: who holds more tokens than live threads is taken for one who has lost some.
 * Doesn't know who serves the pool, nor fifos. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int r, w, held, tokens;
static unsigned taken, returned;

/* The last --jobserver-auth wins. */
static int endpoint(void)
{
    static const char key[] = "--jobserver-auth=";
    const char *at = getenv("MAKEFLAGS"), *last = NULL;

    while (at && (at = strstr(at, key)))
        last = at += strlen(key);
    return last && sscanf(last, "%d,%d", &r, &w) == 2;
}

/* Nobody else reads here: what poll sees is had. */
static int take(int patience_ms)
{
    struct pollfd ready = { .fd = r, .events = POLLIN };
    char token;

    if (held == tokens || poll(&ready, 1, patience_ms) != 1 || read(r, &token, 1) != 1)
        return 0;
    held++;
    taken++;
    return 1;
}

static void give(void)
{
    if (held && write(w, "+", 1) == 1) {
        held--;
        returned++;
    }
}

static void nap(long microseconds)
{
    struct timespec t = { microseconds / 1000000, microseconds % 1000000 * 1000 };

    nanosleep(&t, NULL);
}

static void *job(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

/* As many as may ever run. */
static int start_jobs(void)
{
    pthread_attr_t small;
    pthread_t thread;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    for (int i = 0; i < tokens; i++)
        if (pthread_create(&thread, &small, job, NULL))
            return 0;
    return 1;
}

int main(int argc, char **argv)
{
    int file, is_full;
    long period;
    char text[64];

    if (argc != 5 || !endpoint()) {
        fprintf(stderr, "churn: no --jobserver-auth=R,W in MAKEFLAGS, or not four arguments\n");
        return 2;
    }
    tokens = atoi(argv[1]);
    period = 1000000 / atoi(argv[2]);
    is_full = !strcmp(argv[3], "full");
    if (!start_jobs()) {
        fprintf(stderr, "churn: no more threads\n");
        return 1;
    }
    srandom(getpid());
    for (int want = is_full ? tokens : tokens / 2; want > 0 && take(100); want--)
        ;
    file = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    nap(random() % period); /* clients don't march in step */
    for (;;) {
        if (is_full) {
            nap(period / 2 + random() % period);
            give();
            take(50);
        } else {
            /* One of the two, at random, twice as often. */
            nap(period / 4 + random() % (period / 2));
            if (held == tokens || (held && random() % 2))
                give();
            else
                take(0);
        }
        /* In one write, and never shorter than before. */
        if (pwrite(file, text, snprintf(text, sizeof text, "%010u %010u\n", taken, returned), 0) < 0)
            return 1;
    }
}
