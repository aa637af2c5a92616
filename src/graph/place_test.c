/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/place.h"
#include <stdlib.h>
#include <string.h>
#include "base/philox.h"
#include "test.h"

static void places_in_gaps(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    size_t total;
    /* a lives all along; b and c follow each other and share; d fits between */
    lmf_place_item it[] = { { 100, 0, 9, 0 }, { 200, 0, 3, 0 }, { 150, 4, 9, 0 }, { 0, 0, 9, 0 }, { 40, 5, 6, 0 } };
    assert_ok(ctx, lmf_place(ctx, it, 5, 64, &total));
    assert_int_equal(it[1].offset, 0);
    assert_int_equal(it[2].offset, 0);
    assert_int_equal(it[0].offset, 256);
    assert_int_equal(it[4].offset, 192);
    assert_int_equal(total, 356);
    assert_ok(ctx, lmf_place(ctx, NULL, 0, 64, &total));
    assert_int_equal(total, 0);
    lmf_place_item ages[] = { { 100, 0, INT32_MAX, 0 }, { 50, INT32_MAX, INT32_MAX, 0 }, { 50, 7, 7, 0 } };
    assert_ok(ctx, lmf_place(ctx, ages, 3, 64, &total));
    assert_true(ages[0].offset == 0 && ages[1].offset == 128 && ages[2].offset == 128 && total == 178);
    lmf_test_ctx_done(ctx);
}

/* The plain search: largest first, each over all that overlaps its life, from the lowest end up, until nothing is in the way. */
static size_t plain(lmf_place_item *it, int n, size_t align)
{
    size_t total = 0;
    bool *placed = calloc((size_t)n, sizeof *placed);
    assert_non_null(placed);
    for (int round = 0; round < n; round++) {
        int largest = -1;
        for (int i = 0; i < n; i++)
            if (!placed[i] && (largest < 0 || it[i].bytes > it[largest].bytes))
                largest = i;
        lmf_place_item *x = &it[largest];
        if (!x->bytes)
            break;
        x->offset = 0;
        for (int i = 0; i < n; i++)
            if (placed[i] && it[i].first <= x->last && x->first <= it[i].last && it[i].offset < x->offset + x->bytes &&
                x->offset < it[i].offset + it[i].bytes) {
                x->offset = (it[i].offset + it[i].bytes + align - 1) / align * align;
                i = -1; /* it moved: all of them again */
            }
        placed[largest] = true;
        total = x->offset + x->bytes > total ? x->offset + x->bytes : total;
    }
    free(placed);
    return total;
}

enum { MAX_ITEMS = 200 };
typedef struct draw { uint64_t seed, i; } draw;

static uint32_t pick(draw *d, uint32_t n) { return lmf_random_u32(d->seed, 0, 5, d->i++) % n; }

/* Lives as graphs have them: short ones all along, kept from the way there to the way back, or anything; few sizes or many, some none. */
static void draw_items(draw *d, lmf_place_item *it, int n)
{
    uint32_t n_calls = (const uint32_t[]){ 1, 7, 100, 900, 5000, 100000 }[pick(d, 6)], way = pick(d, 4), unit = 1 + pick(d, 300), n_sizes = 1 + pick(d, 40);
    for (int i = 0; i < n; i++) {
        uint32_t at = pick(d, n_calls), other = pick(d, n_calls), kind = way < 3 ? way : pick(d, 3);
        if (kind == 0)
            other = n_calls - at > 4 ? at + pick(d, 4) : at;
        else if (kind == 1)
            other = n_calls - 1 - at;
        it[i] = (lmf_place_item){ (size_t)unit * pick(d, n_sizes), (int32_t)(at < other ? at : other), (int32_t)(at < other ? other : at), SIZE_MAX };
    }
}

static void equals_the_plain_search(void **state)
{
    lmf_ctx *ctx = lmf_test_ctx();
    int n_shared = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        lmf_place_item got[MAX_ITEMS], want[MAX_ITEMS];
        draw d = { .seed = seed };
        size_t align = (size_t)1 << pick(&d, 9), total, sum = 0;
        int n = 1 + (int)pick(&d, MAX_ITEMS);
        draw_items(&d, got, n);
        memcpy(want, got, (size_t)n * sizeof *got);
        assert_ok(ctx, lmf_place(ctx, got, n, align, &total));
        assert_int_equal(total, plain(want, n, align));
        for (int i = 0; i < n; i++) {
            if (got[i].bytes && got[i].offset != want[i].offset)
                fail_msg("seed %llu: item %d of %d is at %zu, the plain search puts it at %zu", (unsigned long long)seed, i, n, got[i].offset, want[i].offset);
            sum += got[i].bytes;
        }
        n_shared += total < sum;
    }
    assert_true(n_shared > 500);
    lmf_test_ctx_done(ctx);
}

static lmf_status place_many(lmf_ctx *ctx, void *arg)
{
    lmf_place_item it[MAX_ITEMS];
    draw d = { .seed = 3 };
    size_t total;
    (void)arg;
    draw_items(&d, it, MAX_ITEMS);
    return lmf_place(ctx, it, MAX_ITEMS, 64, &total);
}

static void every_call_may_fail(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(place_many, NULL) > 1);
}

LMF_TESTS(place) = {
    { "places in gaps", places_in_gaps },
    { "equals the plain search", equals_the_plain_search },
    { "every call may fail", every_call_may_fail },
    { 0 }
};
