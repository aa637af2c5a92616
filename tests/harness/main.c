/* SPDX-License-Identifier: Apache-2.0 */
/* lmf_tests [options] [folder | stem ...]: the one test binary. See usage(). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cpu.h"
#include "op_harness.h"
#include "sandbox/sandbox.h"
#include "test_config.h"
#include "test_tables.h"

extern const lmf_tables lmf_all_tables;

typedef struct options {
    const char *isa, *device, *speed;
    int         n_workers;
    bool        list, verbose;
    char      **filters; int n_filters;
} options;

typedef struct totals { int n_passed, n_failed, n_holes, n_rows; } totals;

static int usage(FILE *to, int code)
{
    fprintf(to, "usage: lmf_tests [--isa scalar|avx2|avx512|amx|native] [--workers N] [--device NAME] [--speed OP]\n"
                "                 [--verbose] [--list] [folder | stem ...]\n"
                "  --isa      hides CPU features above that level\n"
                "  --workers  worker counts 1 and N, instead of 1, 2, 3 and 7\n"
                "  --device   op cases through a plan on that device only (cuda, cpu)\n"
                "  --speed    times the kernel rows of an op (or \"all\") over its cases\n"
                "  --verbose  names cases that only the reference serves\n");
    return code;
}

static int parse(int argc, char **argv, options *o)
{
    *o = (options){ .isa = "native", .filters = argv + 1 }; /* filters move to the front of argv */
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        const struct { const char *name; const char **at; } texts[] = { { "--isa", &o->isa }, { "--device", &o->device }, { "--speed", &o->speed } };
        size_t k = 0;
        while (k < sizeof texts / sizeof *texts && strcmp(a, texts[k].name))
            k++;
        if (k < sizeof texts / sizeof *texts && value) {
            *texts[k].at = value;
            i++;
        } else if (strcmp(a, "--workers") == 0 && value && (o->n_workers = atoi(value)) >= 1 && o->n_workers <= 256) {
            i++;
        } else if (strcmp(a, "--list") == 0) {
            o->list = true;
        } else if (strcmp(a, "--verbose") == 0) {
            o->verbose = true;
        } else if (strcmp(a, "--help") == 0) {
            exit(usage(stdout, 0));
        } else if (a[0] == '-') {
            fprintf(stderr, "lmf_tests: %s is unknown, or its value is missing or out of range\n", a);
            return usage(stderr, 2);
        } else {
            o->filters[o->n_filters++] = argv[i];
        }
    }
    return 0;
}

static bool filter_matches(const char *filter, const lmf_test_entry *e)
{
    size_t n = strlen(filter);
    while (n && filter[n - 1] == '/')
        n--;
    bool folder = strncmp(e->folder, filter, n) == 0 && (e->folder[n] == 0 || e->folder[n] == '/');
    return n && (folder || (strlen(e->stem) == n && strncmp(e->stem, filter, n) == 0));
}

static bool selected(const options *o, const lmf_test_entry *e)
{
    for (int i = 0; i < o->n_filters; i++)
        if (filter_matches(o->filters[i], e))
            return true;
    return o->n_filters == 0;
}

static int check_filters(const options *o)
{
    for (int i = 0; i < o->n_filters; i++) {
        bool any = false;
        for (const lmf_test_entry *e = lmf_test_entries; e->folder; e++)
            any |= filter_matches(o->filters[i], e);
        if (!any) {
            fprintf(stderr, "lmf_tests: \"%s\" is no folder and no stem of a test (see --list)\n", o->filters[i]);
            return 2;
        }
    }
    return 0;
}

static void print_levels(const options *o, uint64_t cap)
{
    char model[128];
    uint64_t have = lmf_cpu_features();
    lmf_cpu_model(model, sizeof model);
    printf("cpu: %s; --isa %s; rows that need these are not run:", model, o->isa);
    for (int i = 0; i < LMF_CPU_N_FEATURES; i++)
        if (!(have & cap & UINT64_C(1) << i))
            printf(" %s%s", lmf_cpu_feature_name(i), have & UINT64_C(1) << i ? " (hidden by --isa)" : " (not on this machine)");
    printf("%s\n", (have & cap) == (UINT64_C(1) << LMF_CPU_N_FEATURES) - 1 ? " none" : "");
}

static void run_group(const lmf_test_entry *e, totals *t)
{
    struct CMUnitTest group[1024] = { 0 };
    size_t n = 0;
    while (e->tests[n].name && n < sizeof group / sizeof *group) {
        group[n] = (struct CMUnitTest){ .name = e->tests[n].name, .test_func = e->tests[n].run };
        n++;
    }
    if (n == 0)
        printf("FAIL %s: an empty list of tests\n", e->stem);
    int failed = n ? _cmocka_run_group_tests(e->stem, group, n, NULL, NULL) : 1;
    t->n_failed += failed;
    t->n_passed += (int)n > failed ? (int)n - failed : 0;
}

static void run_cases(const options *o, const lmf_test_entry *e, totals *t)
{
    char text[256];
    lmf_harness h;
    int n = 0;
    lmf_ctx *ctx = lmf_test_ctx();
    if (lmf_harness_init(&h, ctx, o->n_workers)) {
        printf("FAIL %s: %s\n", e->stem, lmf_error(ctx));
        t->n_failed++;
    } else {
        h.verbose = o->verbose;
        for (; e->cases[n].op; n++) {
            const lmf_op_case *row = &e->cases[n];
            if (o->speed && (strcmp(o->speed, row->op) == 0 || strcmp(o->speed, "all") == 0))
                lmf_harness_speed(&h, NULL, row);
            if (o->speed)
                continue;
            if (!o->device)
                lmf_harness_case(&h, NULL, row);
            lmf_harness_plan(&h, NULL, row, o->device ? o->device : "cpu", n ? 3 : o->device ? 1000 : 50);
        }
        lmf_harness_check(&h, &(lmf_case){ .row = &(lmf_op_case){ e->stem, "" } }, "case", NULL, n > 0, "a case file without cases");
        if (!o->speed)
            printf("[  CASES  ] %s: %d cases, %d rows run, %d holes: %d checks passed, %d failed\n", e->stem, n, h.n_rows, h.n_holes, h.n_passed,
                   h.n_failed);
        lmf_harness_clear(&h);
    }
    t->n_passed += h.n_passed, t->n_failed += h.n_failed, t->n_holes += h.n_holes, t->n_rows += h.n_rows;
    if (!lmf_test_ctx_drop(ctx, text, sizeof text)) {
        printf("FAIL %s: after its cases: %s\n", e->stem, text);
        t->n_failed++;
    }
}

int main(int argc, char **argv)
{
    options o;
    totals t = { 0 };
    uint64_t cap;
    int code = lmf_sandbox_main(argc, argv);
    if (code >= 0)
        return code;
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    code = parse(argc, argv, &o);
    if (code || (code = check_filters(&o)))
        return code;
    if (!lmf_cpu_level(o.isa, &cap)) {
        fprintf(stderr, "lmf_tests: --isa %s: expected scalar, avx2, avx512, amx or native\n", o.isa);
        return 2;
    }
    lmf_test_configure(cap, o.n_workers);
    if (!o.list)
        print_levels(&o, cap);
    for (const lmf_test_entry *e = lmf_test_entries; e->folder; e++) {
        if (!selected(&o, e))
            continue;
        if (o.list)
            printf("%s %s%s\n", e->folder, e->stem, e->cases ? " (cases)" : "");
        else if (e->cases)
            run_cases(&o, e, &t);
        else if (!o.device && !o.speed)
            run_group(e, &t);
    }
    if (!o.list)
        printf("%d passed, %d failed (%d kernel rows run, %d cases with the reference alone)\n", t.n_passed, t.n_failed, t.n_rows, t.n_holes);
    return t.n_failed ? 1 : 0;
}
