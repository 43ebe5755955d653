/* Takes a token and gives it back, 20,000 times, and prints the nanoseconds one round took.
 * A client as make is one: R and W from MAKEFLAGS, a blocking read, a write.
 *
 * Doesn't know who serves the pool, nor fifos. With two jobs there is one token, so that each read
 * waits until the server has seen the last return. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 20000 };

/* The last --jobserver-auth wins. */
static int endpoint(int *r, int *w)
{
    static const char key[] = "--jobserver-auth=";
    const char *at = getenv("MAKEFLAGS"), *last = NULL;

    while (at && (at = strstr(at, key)))
        last = at += strlen(key);
    return last && sscanf(last, "%d,%d", r, w) == 2;
}

static long long nanoseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void)
{
    int r, w;
    char token;
    long long start;

    if (!endpoint(&r, &w)) {
        fprintf(stderr, "roundtrip: no --jobserver-auth=R,W in MAKEFLAGS\n");
        return 2;
    }
    start = nanoseconds();
    for (int i = 0; i < ROUNDS; i++) {
        if (read(r, &token, 1) != 1 || write(w, &token, 1) != 1) {
            perror("roundtrip: token");
            return 1;
        }
    }
    printf("%lld\n", (nanoseconds() - start) / ROUNDS);
    return 0;
}
