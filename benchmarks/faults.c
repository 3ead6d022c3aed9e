/* Calls to the system that fail on purpose: preloaded by benchmarks/faults.py, idle until `fault_arm` is called.

   Counted are calls on files below one folder, each kind apart. The `at`-th of one kind fails with `number`, or ends
   the process where that is 0; with `on` every later one fails, too. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *const KINDS[] = {"write", "fsync", "rename", "mkdir", "link", "unlink", "open"};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

static char armed_call[16], armed_below[PATH_MAX];
static long armed_at, armed_number, armed_on, counted[KIND_COUNT];
static int armed;

static int kind_of(const char *call) {
    int kind = 0;
    while (kind < KIND_COUNT && strcmp(KINDS[kind], call)) kind++;
    return kind;
}

void fault_arm(const char *call, const char *below, long at, long number, long on) {
    strncpy(armed_below, below, sizeof armed_below - 1);
    strncpy(armed_call, call, sizeof armed_call - 1);
    armed_at = at, armed_number = number, armed_on = on, armed = 1;
    memset(counted, 0, sizeof counted);
}

long fault_count(const char *call) { return counted[kind_of(call)]; }

static int is_below(const char *path) {
    size_t length = strlen(armed_below);
    return strncmp(path, armed_below, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int lies_below(int folder, const char *path) { /* path NULL: the open file itself */
    char link[64], place[PATH_MAX];
    if (path && path[0] == '/') return is_below(path);
    if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, place, sizeof place - 1);
    if (length < 0) return 0;
    place[length] = 0;
    return is_below(place);
}

static int fails(const char *call, int folder, const char *path) {
    if (!armed || !lies_below(folder, path)) return 0;
    long now = __atomic_add_fetch(&counted[kind_of(call)], 1, __ATOMIC_SEQ_CST);
    if (strcmp(call, armed_call)) return 0;
    if (now != armed_at && !(armed_on && armed_at && now > armed_at)) return 0;
    if (!armed_number) kill(getpid(), SIGKILL);
    errno = (int)armed_number;
    return 1;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define FAIL(call, folder, path) if (fails(call, folder, path)) return -1

ssize_t write(int f, const void *b, size_t n) { REAL(write); FAIL("write", f, NULL); return real(f, b, n); }
ssize_t writev(int f, const struct iovec *v, int n) { REAL(writev); FAIL("write", f, NULL); return real(f, v, n); }
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) { REAL(pwrite64); FAIL("write", f, NULL); return real(f, b, n, o); }
ssize_t sendfile64(int to, int from, off64_t *o, size_t n);
ssize_t sendfile64(int to, int from, off64_t *o, size_t n) { REAL(sendfile64); FAIL("write", to, NULL); return real(to, from, o, n); }
ssize_t sendfile(int to, int from, off_t *o, size_t n);
ssize_t sendfile(int to, int from, off_t *o, size_t n) { REAL(sendfile); FAIL("write", to, NULL); return real(to, from, o, n); }
int ftruncate64(int f, off64_t n) { REAL(ftruncate64); FAIL("write", f, NULL); return real(f, n); }
int fsync(int f) { REAL(fsync); FAIL("fsync", f, NULL); return real(f); }
int fdatasync(int f) { REAL(fdatasync); FAIL("fsync", f, NULL); return real(f); }
int rename(const char *a, const char *b) { REAL(rename); FAIL("rename", AT_FDCWD, b); return real(a, b); }
int renameat(int f, const char *a, int t, const char *b) { REAL(renameat); FAIL("rename", t, b); return real(f, a, t, b); }
int renameat2(int f, const char *a, int t, const char *b, unsigned how) { REAL(renameat2); FAIL("rename", t, b); return real(f, a, t, b, how); }
int mkdir(const char *p, mode_t m) { REAL(mkdir); FAIL("mkdir", AT_FDCWD, p); return real(p, m); }
int mkdirat(int f, const char *p, mode_t m) { REAL(mkdirat); FAIL("mkdir", f, p); return real(f, p, m); }
int link(const char *a, const char *b) { REAL(link); FAIL("link", AT_FDCWD, b); return real(a, b); }
int linkat(int f, const char *a, int t, const char *b, int how) { REAL(linkat); FAIL("link", t, b); return real(f, a, t, b, how); }
int symlink(const char *a, const char *b) { REAL(symlink); FAIL("link", AT_FDCWD, b); return real(a, b); }
int symlinkat(const char *a, int t, const char *b) { REAL(symlinkat); FAIL("link", t, b); return real(a, t, b); }
int unlink(const char *p) { REAL(unlink); FAIL("unlink", AT_FDCWD, p); return real(p); }
int unlinkat(int f, const char *p, int how) { REAL(unlinkat); FAIL("unlink", f, p); return real(f, p, how); }
int rmdir(const char *p) { REAL(rmdir); FAIL("unlink", AT_FDCWD, p); return real(p); }

#define MODE(how) mode_t mode = 0; if (how & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, how); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *p, int how, ...) { MODE(how) REAL(open); FAIL("open", AT_FDCWD, p); return real(p, how, mode); }
int open64(const char *p, int how, ...) { MODE(how) REAL(open64); FAIL("open", AT_FDCWD, p); return real(p, how, mode); }
int openat(int f, const char *p, int how, ...) { MODE(how) REAL(openat); FAIL("open", f, p); return real(f, p, how, mode); }
int openat64(int f, const char *p, int how, ...) { MODE(how) REAL(openat64); FAIL("open", f, p); return real(f, p, how, mode); }
DIR *opendir(const char *p) { REAL(opendir); if (fails("open", AT_FDCWD, p)) return NULL; return real(p); }
