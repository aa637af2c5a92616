/* SPDX-License-Identifier: Apache-2.0 */
/* replay: runs a fuzz target over files, without a fuzzing engine: each argument is a file or a folder of files.
 * --mutate N SEED runs N changed copies of each file besides: flipped bits, boundary words, cuts, doubled pieces.
 * A crash, a leak or a sanitizer's report is the failure; the return code is 2 when nothing was run. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { FILE_MAX = 64 << 20 };

typedef struct run {
    long     n_mutants, n_inputs;
    uint64_t state; /* xorshift: the same seed gives the same mutants */
} run;

static uint64_t next(run *r)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return r->state;
}

static size_t mutate(run *r, uint8_t *p, size_t n)
{
    static const uint64_t words[] = { 0, 1, 0x7f, 0xff, 0x7fff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX };
    for (uint64_t k = 1 + next(r) % 4; k && n; k--) {
        size_t at = next(r) % n, len = 1 + next(r) % 16;
        /* most of what matters lies in front */
        if (next(r) % 2 && n > 4096)
            at %= 4096;
        if (len > n - at)
            len = n - at;
        switch (next(r) % 6) {
        case 0: p[at] ^= (uint8_t)(1 << next(r) % 8); break;
        case 1: p[at] = (uint8_t)next(r); break;
        case 2: memcpy(p + at, words + next(r) % (sizeof words / sizeof *words), len < 8 ? len : 8); break;
        case 3: n = at; break;
        case 4: memmove(p + at, p + at + len, n - at - len), n -= len; break;
        case 5: memmove(p + next(r) % (n - len + 1), p + at, len); break;
        }
    }
    return n;
}

/* Each input has a block of its own size, so that a sanitizer sees reads past its end. */
static int once(run *r, const uint8_t *data, size_t n)
{
    uint8_t *own = malloc(n ? n : 1);
    if (!own)
        return 1;
    memcpy(own, data, n);
    r->n_inputs++;
    int rc = LLVMFuzzerTestOneInput(own, n);
    free(own);
    return rc != 0;
}

static int run_file(run *r, const char *path, long n_bytes)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc((size_t)n_bytes + 1), *work = malloc((size_t)n_bytes + 1);
    int rc = !f || !data || !work || n_bytes > FILE_MAX || fread(data, 1, (size_t)n_bytes, f) != (size_t)n_bytes;
    if (rc)
        fprintf(stderr, "can't read %s, or it is larger than %d bytes\n", path, FILE_MAX);
    else
        rc = once(r, data, (size_t)n_bytes);
    for (long i = 0; !rc && i < r->n_mutants; i++) {
        memcpy(work, data, (size_t)n_bytes);
        rc = once(r, work, mutate(r, work, (size_t)n_bytes));
    }
    if (f)
        fclose(f);
    free(data);
    free(work);
    return rc;
}

static int run_path(run *r, const char *path)
{
    struct stat st;
    char text[4096];
    if (stat(path, &st)) {
        fprintf(stderr, "there is no %s\n", path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode))
        return run_file(r, path, (long)st.st_size);
    DIR *d = opendir(path);
    int rc = d == NULL;
    for (struct dirent *e; !rc && (e = readdir(d));)
        if (e->d_name[0] != '.' && snprintf(text, sizeof text, "%s/%s", path, e->d_name) < (int)sizeof text)
            rc = run_path(r, text);
    if (d)
        closedir(d);
    return rc;
}

int main(int argc, char **argv)
{
    run r = { 0, 0, 1 };
    int i = 1;
    if (argc > 3 && !strcmp(argv[1], "--mutate")) {
        r.n_mutants = strtol(argv[2], NULL, 10);
        r.state = strtoull(argv[3], NULL, 10) * 2654435761u + 1;
        i = 4;
    }
    for (; i < argc; i++)
        if (run_path(&r, argv[i]))
            return 1;
    printf("%ld inputs\n", r.n_inputs);
    return r.n_inputs ? 0 : 2;
}
