/* SPDX-License-Identifier: Apache-2.0 */
/* grow: a fuzzing engine for machines without one (tools/fuzzpack.sh). Copies of the inputs are changed; one that reaches code or counts
 * that none reached before is kept, in memory and in --found, and is changed further. The compiler calls __sanitizer_cov_trace_pc in each
 * block (-fsanitize-coverage=trace-pc). An input lies at the end of a page before one that can't be touched, what follows its last byte
 * in that page is poisoned. What crashes, or takes longer than LIMIT seconds (signal 14 in its name), is written to --crashes and ends
 * the process with status 3; memory that was lost is looked for at the end, status 23.
 *
 *     NAME_fuzz --seconds N --seed N --found DIR --crashes DIR FILE|FOLDER ...      prints "NAME_fuzz N executions, N found"
 *
 * Rule: what runs in a signal handler calls nothing but open, write, snprintf and _exit. */
#include <dirent.h>
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
void __sanitizer_cov_trace_pc(void);

#define PLAIN __attribute__((no_sanitize_coverage))
enum { BLOCKS = 1 << 16, INPUT_MAX = 1 << 18, ROOM = INPUT_MAX + 4096, POOL_MAX = 1 << 15, LIMIT = 20, ALIGN = 16 };

static uint8_t hit[BLOCKS], seen[BLOCKS];
static uintptr_t before;

PLAIN void __sanitizer_cov_trace_pc(void)
{
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);
    hit[(pc ^ before) % BLOCKS]++;
    before = pc >> 1;
}

typedef struct input { uint8_t *data; size_t n; } input;
typedef struct state {
    const char *name, *found, *crashes;
    input       pool[POOL_MAX];
    size_t      n_pool, pool_bytes;
    uint64_t    random, seed, n_runs, n_found;
    uint8_t    *room, *at; /* the current input */
    size_t      n;
    double      end;
} state;
static state s;

static PLAIN uint64_t next(void) /* xorshift */
{
    s.random ^= s.random << 13;
    s.random ^= s.random >> 7;
    s.random ^= s.random << 17;
    return s.random;
}

static PLAIN double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static PLAIN uint64_t hash_of(const uint8_t *p, size_t n) /* FNV-1a */
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(1099511628211);
    return h;
}

static PLAIN void keep(const char *dir, const char *what, const uint8_t *p, size_t n)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%016llx", dir, what, (unsigned long long)hash_of(p, n));
    int fd = dir ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
    for (ssize_t k; fd >= 0 && n && (k = write(fd, p, n)) > 0; n -= (size_t)k)
        p += k;
    if (fd >= 0)
        close(fd);
}

static PLAIN void report(void)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s %llu executions, %llu found\n", s.name, (unsigned long long)s.n_runs,
                     (unsigned long long)s.n_found);
    ssize_t k = write(1, text, (size_t)n);
    (void)k;
}

static PLAIN void on_crash(int number)
{
    char what[300];
    snprintf(what, sizeof what, "%s-signal%d-", s.name, number);
    if (s.crashes)
        keep(s.crashes, what, s.at, s.n);
    report();
    _exit(3);
}

static PLAIN void catch_crashes(void)
{
    static uint8_t stack[1 << 16]; /* a stack that overflows can't hold a handler */
    static const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGALRM };
    stack_t other = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction a = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK };
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &a, NULL);
}

/* Counts in steps, as a loop that runs once more than before is nothing new. */
static PLAIN uint8_t step_of(uint8_t count)
{
    static const uint8_t below[] = { 1, 2, 3, 4, 8, 16, 32, 128 };
    int i = 0;
    while (i < 8 && count >= below[i])
        i++;
    return i ? (uint8_t)(1 << (i - 1)) : 0;
}

/* Runs s.at; whether it reached something new. */
static PLAIN int run_one(void)
{
    int is_new = 0;
    memset(hit, 0, sizeof hit);
    before = 0;
    alarm(LIMIT);
    s.n_runs++;
    if (LLVMFuzzerTestOneInput(s.at, s.n))
        abort();
    for (size_t i = 0; i < BLOCKS; i++)
        if (hit[i] && (step_of(hit[i]) & ~seen[i])) {
            seen[i] |= step_of(hit[i]);
            is_new = 1;
        }
    return is_new;
}

static PLAIN void add(const uint8_t *p, size_t n)
{
    uint8_t *own = s.n_pool < POOL_MAX ? malloc(n ? n : 1) : NULL;
    if (!own)
        return;
    memcpy(own, p, n);
    s.pool[s.n_pool++] = (input){ own, n };
}

/* Makes room for n bytes where the page behind them can't be touched. */
static PLAIN void place(size_t n)
{
    ASAN_UNPOISON_MEMORY_REGION(s.room, ROOM);
    s.n = n;
    s.at = s.room + ((ROOM - n) & ~(size_t)(ALIGN - 1));
    ASAN_POISON_MEMORY_REGION(s.at + n, (size_t)(s.room + ROOM - s.at) - n);
}

static PLAIN void run_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > INPUT_MAX) {
        if (fd >= 0)
            close(fd);
        return;
    }
    place((size_t)st.st_size);
    size_t got = 0;
    for (ssize_t k; got < s.n && (k = read(fd, s.at + got, s.n - got)) > 0;)
        got += (size_t)k;
    close(fd);
    if (got == s.n && (run_one() || !s.found))
        add(s.at, s.n);
}

static PLAIN void run_path(const char *path)
{
    char text[4096];
    DIR *d = opendir(path);
    if (!d) {
        run_file(path);
        return;
    }
    for (struct dirent *e; (e = readdir(d)) && now() < s.end;)
        if (e->d_name[0] != '.' && snprintf(text, sizeof text, "%s/%s", path, e->d_name) < (int)sizeof text)
            run_path(text);
    closedir(d);
}

/* One change of the n bytes at p, which have room for ROOM; the new length. */
static PLAIN size_t change(uint8_t *p, size_t n)
{
    static const uint64_t words[] = { 0, 1, 0x7f, 0xff, 0x7fff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX,
        (uint64_t)INT64_MIN, UINT64_MAX };
    static const char *const texts[] = { "\"", "{", "}", "[", "]", ",", ":", "null", "true", "{{", "}}", "{%", "%}", "|", "(", ")", "1e308",
        "-1", "\\", "\\u0000", "\n", " ", "\xff", "\xf0\x9f\x98\x80" };
    size_t at = n ? next() % n : 0, len = 1 + next() % 16;
    if (next() % 2 && n > 4096)
        at %= 4096; /* most of what matters lies in front */
    len = len > n - at ? n - at : len;
    switch (next() % 10) {
    case 0: if (n) p[at] ^= (uint8_t)(1 << next() % 8); return n;
    case 1: if (n) p[at] = (uint8_t)next(); return n;
    case 2: memcpy(p + at, words + next() % (sizeof words / sizeof *words), len < 8 ? len : 8); return n;
    case 3: return next() % 4 ? n : at;
    case 4: memmove(p + at, p + at + len, n - at - len); return n - len;
    case 5: if (n) memmove(p + next() % (n - len + 1), p + at, len); return n;
    case 6: { /* a word of the languages that are read */
        const char *t = texts[next() % (sizeof texts / sizeof *texts)];
        size_t k = strlen(t);
        if (n + k > INPUT_MAX)
            return n;
        memmove(p + at + k, p + at, n - at);
        memcpy(p + at, t, k);
        return n + k;
    }
    case 7: { /* a piece twice */
        size_t k = len * (1 + next() % 8);
        k = k > n - at ? n - at : k;
        if (n + k > INPUT_MAX)
            return n;
        memmove(p + at + k, p + at, n - at);
        return n + k;
    }
    default: { /* a piece of another input, in between or to the end */
        const input *o = &s.pool[next() % s.n_pool];
        size_t from = o->n ? next() % o->n : 0, k = o->n - from;
        k = next() % 2 && k ? 1 + next() % (k < 64 ? k : 64) : k;
        if (n + k > INPUT_MAX)
            return n;
        size_t behind = next() % 2 ? n - at : 0;
        memmove(p + at + k, p + at, behind);
        memcpy(p + at, o->data + from, k);
        return at + k + behind;
    }
    }
}

static PLAIN void grow(void)
{
    static uint8_t work[ROOM];
    while (now() < s.end)
        for (int i = 0; i < 64; i++) {
            size_t from = next() % 2 && s.n_pool > 8 ? s.n_pool / 2 + next() % (s.n_pool - s.n_pool / 2) : next() % s.n_pool;
            size_t n = s.pool[from].n;
            memcpy(work, s.pool[from].data, n);
            for (uint64_t k = 1 + next() % 5; k; k--)
                n = change(work, n);
            place(n);
            memcpy(s.at, work, n);
            if (!run_one())
                continue;
            add(work, n);
            keep(s.found, "", work, n);
            s.n_found++;
        }
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    double seconds = 10;
    int i = 1;
    s.name = slash ? slash + 1 : argv[0];
    s.seed = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (!strcmp(argv[i], "--seconds"))
            seconds = strtod(argv[i + 1], NULL);
        else if (!strcmp(argv[i], "--seed"))
            s.seed = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--found"))
            s.found = argv[i + 1];
        else if (!strcmp(argv[i], "--crashes"))
            s.crashes = argv[i + 1];
        else
            return 2;
    }
    s.random = s.seed * 2654435761u + 88172645463325252u;
    s.end = now() + seconds;
    uint8_t *room = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED || mprotect(room + ROOM, 4096, PROT_NONE))
        return 2;
    s.room = room;
    catch_crashes();
    for (int k = i; k < argc; k++)
        run_path(argv[k]);
    if (s.n_pool)
        grow();
    report();
    if (__lsan_do_recoverable_leak_check())
        return 23;
    return s.n_pool ? 0 : 2;
}
