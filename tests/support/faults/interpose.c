// Stands between a program and the C library, and lets its calls fail: LD_PRELOAD, one fault a run, told by variables. Acts in
// that program alone, whatever else is started below it, and in all of its forks.
//
// A *site* is a function and the return addresses that lead to it through the program, up to the FAULTS_DEPTH-th that lies in
// the program's own code (not its libraries', which are linked in, and whose wrappers all share). Doesn't know what the program
// is, nor what may come of a fault.
//
//   FAULTS_PROGRAM  acts where /proc/self/exe leads there, or to a copy of it called .jobgate
//   FAULTS_OWN      which addresses are its own code: pairs of 32 bit numbers, first and end, relative and sorted
//   FAULTS_DEPTH    see above
//   FAULTS_SITES    each site that is come by is noted in this file: hash, function, return addresses
//   FAULTS_SITE     the one that has the fault, by its hash; when it has it, it is noted in FAULTS_HITS
//   FAULTS_ERRNO    ... it fails so, once in each process
//   FAULTS_ALWAYS   ... each time
//   FAULTS_SHORT    ... it reads and writes one byte at a time
//   FAULTS_EINTR    every site that may be interrupted is: "first", the first time; "second", every second time

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FRAMES 200
#define SITES 8192 // a power of two, and more than there are

typedef struct { uint32_t first, end; } Range;
typedef struct { uint64_t hash; unsigned times, faults; } Seen;

static int active;
static long (*kernel)(long, ...); // past our own wrappers
static uintptr_t base, end_of_program;
static const Range *own;
static size_t owns;
static unsigned depth;
static const char *sites, *hits;
static uint64_t site;
static int error, always, short_, eintr;
static Seen seen[SITES];

static void note(const char *file, const char *line) {
    long fd = kernel(SYS_openat, AT_FDCWD, file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return;
    kernel(SYS_write, fd, line, strlen(line));
    kernel(SYS_close, fd);
}

static int is_own(uint32_t address) {
    size_t low = 0, high = owns;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (address < own[middle].first) high = middle;
        else if (address >= own[middle].end) low = middle + 1;
        else return 1;
    }
    return 0;
}

static uint64_t mix(uint64_t hash, uint64_t value) {
    for (int at = 0; at < 8; at++, value >>= 8) hash = (hash ^ (value & 255)) * 0x100000001b3;
    return hash;
}

// The site of the call `name`, and how it is noted.
static uint64_t locate(const char *name, char *line, size_t room) {
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);
    uint64_t hash = 0xcbf29ce484222325;
    for (const char *letter = name; *letter; letter++) hash = mix(hash, *letter);
    size_t length = 0;
    unsigned found = 0;
    for (int at = 0; at < count && found < depth; at++) {
        uintptr_t address = (uintptr_t)frames[at];
        if (address < base || address >= end_of_program) continue;
        // A call that doesn't return may be a function's last: the address behind it is another's.
        uint32_t offset = address - base - 1;
        found += is_own(offset);
        hash = mix(hash, offset);
        if (length < room) length += snprintf(line + length, room - length, ",%x", offset);
    }
    return hash;
}

static Seen *find(uint64_t hash) {
    size_t at = hash % SITES;
    while (seen[at].hash && seen[at].hash != hash) at = (at + 1) % SITES;
    seen[at].hash = hash;
    return &seen[at];
}

enum { WAITS = 1, MOVES = 2 }; // may be interrupted; may do less than it was asked to

// Whether reading or writing less is something that the kernel does here: not with a signalfd, nor with datagrams.
static int may_be_short(int fd) {
    struct stat stat;
    int type = 0;
    if (kernel(SYS_fstat, fd, &stat)) return 0;
    if (!S_ISSOCK(stat.st_mode)) return S_ISREG(stat.st_mode) || S_ISFIFO(stat.st_mode) || S_ISCHR(stat.st_mode);
    kernel(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type});
    return type == SOCK_STREAM;
}

// Whether this call fails, errno set; or how much it is to move.
static int faulty(const char *name, int kind, int fd, size_t *count) {
    static int inside;
    if (inside) return 0;
    inside = 1;
    int before = errno, fails = 0;
    char line[3000] = "", text[3100];
    uint64_t hash = locate(name, line, sizeof line - 20);
    Seen *here = find(hash);
    unsigned times = here->times++;
    if (sites && !times) {
        int is_short = count && *count > 1 && may_be_short(fd);
        snprintf(text, sizeof text, "%016lx %s %d %s\n", hash, name, (kind & WAITS) | (is_short ? MOVES : 0), line + 1);
        note(sites, text);
    }
    if (site == hash && short_ && count && *count > 1 && may_be_short(fd)) {
        *count = 1;
        if (!here->faults++) note(hits, "short\n");
    } else if (site == hash && error && (always || !times)) {
        fails = error;
        if (!here->faults++) note(hits, "failed\n");
    } else if (eintr && (kind & WAITS) && (eintr == 1 ? times == 0 : times % 2 == 0)) {
        fails = EINTR;
    }
    errno = fails ? fails : before;
    inside = 0;
    return fails;
}

static int main_program(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    base = info->dlpi_addr;
    for (int at = 0; at < info->dlpi_phnum; at++) {
        uintptr_t end = base + info->dlpi_phdr[at].p_vaddr + info->dlpi_phdr[at].p_memsz;
        if (info->dlpi_phdr[at].p_type == PT_LOAD && end > end_of_program) end_of_program = end;
    }
    return 1; // the first is the program
}

static int is_meant(const char *program) {
    char exe[4096];
    long length = kernel(SYS_readlink, "/proc/self/exe", exe, sizeof exe - 1);
    if (length < 0) return 0;
    exe[length] = 0;
    const char *name = strrchr(exe, '/');
    return !strcmp(exe, program) || (name && !strcmp(name, "/.jobgate"));
}

__attribute__((constructor)) static void begin(void) {
    const char *program = getenv("FAULTS_PROGRAM"), *map = getenv("FAULTS_OWN");
    kernel = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (!program || !map || !is_meant(program)) return;
    const char *text = getenv("FAULTS_DEPTH");
    depth = text ? atoi(text) : FRAMES;
    sites = getenv("FAULTS_SITES");
    hits = getenv("FAULTS_HITS");
    if ((text = getenv("FAULTS_SITE"))) site = strtoull(text, NULL, 16);
    if ((text = getenv("FAULTS_ERRNO"))) error = atoi(text);
    if ((text = getenv("FAULTS_EINTR"))) eintr = strcmp(text, "first") ? 2 : 1;
    always = !!getenv("FAULTS_ALWAYS");
    short_ = !!getenv("FAULTS_SHORT");
    long fd = kernel(SYS_openat, AT_FDCWD, map, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || kernel(SYS_fstat, fd, &stat)) abort();
    owns = stat.st_size / sizeof(Range);
    own = (const Range *)kernel(SYS_mmap, 0L, stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0L);
    kernel(SYS_close, fd);
    dl_iterate_phdr(main_program, NULL);
    void *frames[4];
    backtrace(frames, 4); // it loads what it needs the first time
    active = 1;
}

// A wrapper: what it returns, what that is when it fails, its name, its parameters, its arguments.
#define LOOKED_UP(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define WRAP(type, bad, name, kind, fd, count, parameters, arguments) \
    type name parameters { \
        LOOKED_UP(name); \
        return active && faulty(#name, kind, fd, count) ? bad : real arguments; \
    }
#define PLAIN(name, parameters, arguments) WRAP(int, -1, name, 0, -1, NULL, parameters, arguments)
#define WAITING(name, parameters, arguments) WRAP(int, -1, name, WAITS, -1, NULL, parameters, arguments)
#define MOVING(name, fd, parameters, arguments) \
    WRAP(ssize_t, -1, name, WAITS | MOVES, fd, &count, parameters, arguments)

MOVING(read, fd, (int fd, void *to, size_t count), (fd, to, count))
MOVING(write, fd, (int fd, const void *from, size_t count), (fd, from, count))
MOVING(pread64, fd, (int fd, void *to, size_t count, off64_t at), (fd, to, count, at))
MOVING(pwrite64, fd, (int fd, const void *from, size_t count, off64_t at), (fd, from, count, at))
MOVING(recv, fd, (int fd, void *to, size_t count, int flags), (fd, to, count, flags))
MOVING(send, fd, (int fd, const void *from, size_t count, int flags), (fd, from, count, flags))
MOVING(sendto, fd, (int fd, const void *from, size_t count, int flags, const struct sockaddr *to, socklen_t length),
       (fd, from, count, flags, to, length))
WRAP(ssize_t, -1, recvmsg, WAITS, -1, NULL, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, -1, sendmsg, WAITS, -1, NULL, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, -1, writev, WAITS, -1, NULL, (int fd, const struct iovec *from, int parts), (fd, from, parts))
WRAP(ssize_t, -1, sendfile64, WAITS, -1, NULL, (int to, int from, off64_t *at, size_t count), (to, from, at, count))
WRAP(ssize_t, -1, splice, WAITS, -1, NULL,
     (int from, off64_t *at, int to, off64_t *there, size_t count, unsigned flags), (from, at, to, there, count, flags))
WRAP(ssize_t, -1, copy_file_range, 0, -1, NULL,
     (int from, off64_t *at, int to, off64_t *there, size_t count, unsigned flags), (from, at, to, there, count, flags))
WRAP(ssize_t, -1, tee, 0, -1, NULL, (int from, int to, size_t count, unsigned flags), (from, to, count, flags))
WRAP(ssize_t, -1, getrandom, WAITS, -1, NULL, (void *to, size_t count, unsigned flags), (to, count, flags))
WRAP(ssize_t, -1, readlink, 0, -1, NULL, (const char *path, char *to, size_t room), (path, to, room))
WRAP(ssize_t, -1, readlinkat, 0, -1, NULL, (int at, const char *path, char *to, size_t room), (at, path, to, room))
WRAP(off64_t, -1, lseek64, 0, -1, NULL, (int fd, off64_t at, int whence), (fd, at, whence))

PLAIN(access, (const char *path, int mode), (path, mode))
PLAIN(bind, (int fd, const struct sockaddr *name, socklen_t length), (fd, name, length))
PLAIN(chdir, (const char *path), (path))
PLAIN(chmod, (const char *path, mode_t mode), (path, mode))
PLAIN(dup, (int fd), (fd))
WAITING(dup2, (int fd, int to), (fd, to))
WAITING(dup3, (int fd, int to, int flags), (fd, to, flags))
PLAIN(epoll_create1, (int flags), (flags))
PLAIN(epoll_ctl, (int fd, int what, int about, struct epoll_event *event), (fd, what, about, event))
WAITING(epoll_wait, (int fd, struct epoll_event *events, int most, int wait), (fd, events, most, wait))
PLAIN(execve, (const char *path, char *const argv[], char *const variables[]), (path, argv, variables))
PLAIN(execvp, (const char *path, char *const argv[]), (path, argv))
PLAIN(fchmod, (int fd, mode_t mode), (fd, mode))
PLAIN(fchmodat, (int at, const char *path, mode_t mode, int flags), (at, path, mode, flags))
PLAIN(faccessat, (int at, const char *path, int mode, int flags), (at, path, mode, flags))
PLAIN(fstatat, (int at, const char *path, struct stat *to, int flags), (at, path, to, flags))
PLAIN(lstat, (const char *path, struct stat *to), (path, to))
WAITING(flock, (int fd, int how), (fd, how))
WRAP(pid_t, -1, fork, 0, -1, NULL, (void), ())
PLAIN(fstat, (int fd, struct stat *to), (fd, to))
PLAIN(fstat64, (int fd, struct stat64 *to), (fd, to))
PLAIN(stat, (const char *path, struct stat *to), (path, to))
PLAIN(stat64, (const char *path, struct stat64 *to), (path, to))
PLAIN(lstat64, (const char *path, struct stat64 *to), (path, to))
PLAIN(statx, (int fd, const char *path, int flags, unsigned mask, struct statx *to), (fd, path, flags, mask, to))
WAITING(statvfs, (const char *path, struct statvfs *to), (path, to))
PLAIN(futimens, (int fd, const struct timespec times[2]), (fd, times))
WRAP(char *, NULL, getcwd, 0, -1, NULL, (char *to, size_t room), (to, room))
WAITING(ftruncate64, (int fd, off64_t length), (fd, length))
PLAIN(getrlimit, (__rlimit_resource_t what, struct rlimit *to), (what, to))
PLAIN(setrlimit, (__rlimit_resource_t what, const struct rlimit *to), (what, to))
WRAP(pid_t, -1, getsid, 0, -1, NULL, (pid_t pid), (pid))
WRAP(pid_t, -1, setsid, 0, -1, NULL, (void), ())
PLAIN(getsockname, (int fd, struct sockaddr *to, socklen_t *length), (fd, to, length))
PLAIN(getpeername, (int fd, struct sockaddr *to, socklen_t *length), (fd, to, length))
PLAIN(getsockopt, (int fd, int level, int name, void *to, socklen_t *length), (fd, level, name, to, length))
PLAIN(setsockopt, (int fd, int level, int name, const void *to, socklen_t length), (fd, level, name, to, length))
PLAIN(inotify_init1, (int flags), (flags))
PLAIN(inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask))
PLAIN(inotify_rm_watch, (int fd, int watch), (fd, watch))
PLAIN(kill, (pid_t pid, int signal), (pid, signal))
PLAIN(raise, (int signal), (signal))
PLAIN(linkat, (int from, const char *path, int to, const char *new, int flags), (from, path, to, new, flags))
PLAIN(symlink, (const char *to, const char *path), (to, path))
PLAIN(listen, (int fd, int backlog), (fd, backlog))
PLAIN(mkdir, (const char *path, mode_t mode), (path, mode))
PLAIN(mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
PLAIN(mkfifo, (const char *path, mode_t mode), (path, mode))
PLAIN(pipe2, (int fds[2], int flags), (fds, flags))
WRAP(DIR *, NULL, opendir, 0, -1, NULL, (const char *path), (path))
WRAP(struct dirent64 *, NULL, readdir64, 0, -1, NULL, (DIR *folder), (folder))
WAITING(closedir, (DIR *folder), (folder))
WRAP(char *, NULL, realpath, 0, -1, NULL, (const char *path, char *to), (path, to))
PLAIN(rename, (const char *from, const char *to), (from, to))
PLAIN(renameat, (int fd, const char *from, int there, const char *to), (fd, from, there, to))
PLAIN(sched_getaffinity, (pid_t pid, size_t size, cpu_set_t *to), (pid, size, to))
PLAIN(shutdown, (int fd, int how), (fd, how))
PLAIN(sigaction, (int signal, const struct sigaction *new, struct sigaction *old), (signal, new, old))
WRAP(sighandler_t, SIG_ERR, signal, 0, -1, NULL, (int number, sighandler_t to), (number, to))
PLAIN(sigprocmask, (int how, const sigset_t *new, sigset_t *old), (how, new, old))
PLAIN(signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags))
WAITING(sigtimedwait, (const sigset_t *set, siginfo_t *to, const struct timespec *wait), (set, to, wait))
PLAIN(socket, (int domain, int type, int protocol), (domain, type, protocol))
PLAIN(socketpair, (int domain, int type, int protocol, int to[2]), (domain, type, protocol, to))
PLAIN(unlink, (const char *path), (path))
PLAIN(unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WAITING(accept4, (int fd, struct sockaddr *to, socklen_t *length, int flags), (fd, to, length, flags))
WAITING(connect, (int fd, const struct sockaddr *to, socklen_t length), (fd, to, length))
WRAP(int, -1, poll, wait ? WAITS : 0, -1, NULL, (struct pollfd *fds, nfds_t count, int wait), (fds, count, wait))
WRAP(int, -1, waitid, flags & WNOHANG ? 0 : WAITS, -1, NULL,
     (idtype_t kind, id_t id, siginfo_t *to, int flags), (kind, id, to, flags))
WRAP(pid_t, -1, waitpid, flags & WNOHANG ? 0 : WAITS, -1, NULL, (pid_t pid, int *to, int flags), (pid, to, flags))

// Those that return the error.
WRAP(int, errno, clock_nanosleep, WAITS, -1, NULL,
     (clockid_t clock, int flags, const struct timespec *time, struct timespec *left), (clock, flags, time, left))
WRAP(int, errno, posix_spawnp, 0, -1, NULL,
     (pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how,
      char *const argv[], char *const variables[]), (pid, file, actions, how, argv, variables))
WRAP(int, errno, getgrnam_r, 0, -1, NULL,
     (const char *name, struct group *to, char *text, size_t room, struct group **found), (name, to, text, room, found))
WRAP(int, errno, getpwnam_r, 0, -1, NULL,
     (const char *name, struct passwd *to, char *text, size_t room, struct passwd **found), (name, to, text, room, found))
WRAP(int, errno, getpwuid_r, 0, -1, NULL,
     (uid_t uid, struct passwd *to, char *text, size_t room, struct passwd **found), (uid, to, text, room, found))

// What an error of this one says of the descriptor: it is closed all the same (close(2)).
int close(int fd) {
    LOOKED_UP(close);
    int done = real(fd), after = errno;
    if (active && faulty("close", WAITS, -1, NULL)) return -1;
    errno = after;
    return done;
}

// Those that take more arguments by what the others say.
#define REST(last) \
    va_list rest; \
    va_start(rest, last); \
    long more[6]; \
    for (int at = 0; at < 6; at++) more[at] = va_arg(rest, long); \
    va_end(rest)

int open(const char *path, int flags, ...) {
    LOOKED_UP(open);
    REST(flags);
    return active && faulty("open", WAITS, -1, NULL) ? -1 : real(path, flags, (mode_t)more[0]);
}

int open64(const char *path, int flags, ...) {
    LOOKED_UP(open64);
    REST(flags);
    return active && faulty("open64", WAITS, -1, NULL) ? -1 : real(path, flags, (mode_t)more[0]);
}

int openat(int fd, const char *path, int flags, ...) {
    LOOKED_UP(openat);
    REST(flags);
    return active && faulty("openat", WAITS, -1, NULL) ? -1 : real(fd, path, flags, (mode_t)more[0]);
}

int fcntl(int fd, int what, ...) {
    LOOKED_UP(fcntl);
    REST(what);
    // It can't fail but for a number that isn't open, and Rust looks at each descriptor so before it closes it.
    if (what == F_GETFD) return real(fd, what);
    const char *name = what == F_DUPFD || what == F_DUPFD_CLOEXEC ? "fcntl(dup)"
        : what == F_SETLK || what == F_SETLKW ? "fcntl(lock)"
        : what == F_SETPIPE_SZ ? "fcntl(size)"
        : what == F_GETFL || what == F_GETPIPE_SZ ? "fcntl(get)" : "fcntl(set)";
    return active && faulty(name, what == F_SETLKW ? WAITS : 0, -1, NULL) ? -1 : real(fd, what, more[0]);
}

int ioctl(int fd, unsigned long what, ...) {
    LOOKED_UP(ioctl);
    REST(what);
    return active && faulty(what == FIONREAD ? "ioctl(count)" : "ioctl", 0, -1, NULL) ? -1 : real(fd, what, more[0]);
}

int prctl(int what, ...) {
    LOOKED_UP(prctl);
    REST(what);
    return active && faulty("prctl", 0, -1, NULL) ? -1 : real(what, more[0], more[1], more[2], more[3]);
}

long syscall(long number, ...) {
    REST(number);
    const char *name = number == SYS_pidfd_open ? "syscall(pidfd_open)"
        : number == SYS_close_range ? "syscall(close_range)"
        : number == SYS_sched_getattr ? "syscall(sched_getattr)"
        : number == SYS_sched_setattr ? "syscall(sched_setattr)" : NULL;
    if (active && name && faulty(name, 0, -1, NULL)) return -1;
    if (!kernel) kernel = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return kernel(number, more[0], more[1], more[2], more[3], more[4], more[5]);
}
