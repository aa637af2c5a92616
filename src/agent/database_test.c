/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/database.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "test.h"

static char folder[512];

static const char *put_file(const char *name, const char *text, size_t n)
{
    static char path[4][640];
    static int i;
    FILE *f;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", folder, name);
    assert_non_null(f = fopen(path[i], "wb"));
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
    return path[i];
}

static void begin(void)
{
    snprintf(folder, sizeof folder, "%s/lmf_database_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(folder));
}

static void end(const char *const *names)
{
    char path[640];
    for (; *names; names++) {
        snprintf(path, sizeof path, "%s/%s", folder, *names);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

static void check_query(lmf_ctx *ctx, lmf_database *db, const char *sql, const char *want)
{
    lmf_buf text;
    lmf_buf_init(&text, ctx, 4096);
    lmf_tool_out out = { .buf = &text, .cap = 4000 };
    assert_ok(ctx, lmf__database_query(db, sql, lmf_tool_clock_now() + 5, &out));
    if (strcmp(lmf_buf_str(&text), want))
        fail_msg("%s gives \"%s\", not \"%s\"", sql, lmf_buf_str(&text), want);
    lmf_buf_clear(&text);
}

/* What stands in a file, by type. */
static void types(void **state)
{
    static const char csv[] = "id,zip,price,\"a \"\"name\"\"\",seen\n1,007,1.5,x,\n-2,10,2,\"y, z\",3\n30,1,1e2,,4\n";
    static const char lines[] = "{\"k\": 1, \"v\": \"007\"}\n\n{\"k\": 2.5, \"more\": [1, {\"a\": null}]}\r\n{\"k\": true, \"v\": null}\n";
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_database *db;
    lmf_buf about;
    char paths[1400];
    (void)state;
    begin();
    const char *a = put_file("2 shops.csv", csv, sizeof csv - 1), *b = put_file("rows.jsonl", lines, sizeof lines - 1);
    snprintf(paths, sizeof paths, "%s,%s", a, b);
    assert_ok(ctx, lmf__database_open(ctx, paths, 5, &db));
    assert_null(lmf__database_last(db));
    lmf_buf_init(&about, ctx, 4096);
    assert_ok(ctx, lmf__database_describe(db, &about));
    assert_string_equal(lmf_buf_str(&about), " Tables: CREATE TABLE \"rows\" (\"k\" REAL, \"v\" TEXT, \"more\" TEXT); "
                        "CREATE TABLE \"t_2_shops\" "
                        "(\"id\" INTEGER, \"zip\" TEXT, \"price\" REAL, \"a \"\"name\"\"\" TEXT, \"seen\" INTEGER);");
    lmf_buf_clear(&about);
    check_query(ctx, db, "SELECT * FROM t_2_shops ORDER BY id", "id | zip | price | a \"name\" | seen\n-2 | 10 | 2.0 | y, z | 3\n"
                "1 | 007 | 1.5 | x | NULL\n30 | 1 | 100.0 |  | 4");
    check_query(ctx, db, "SELECT typeof(id), typeof(zip), typeof(price), sum(seen) FROM t_2_shops",
                "typeof(id) | typeof(zip) | typeof(price) | sum(seen)\ninteger | text | real | 7");
    check_query(ctx, db, "SELECT k, v, more FROM rows", "k | v | more\n1.0 | 007 | NULL\n2.5 | NULL | [1,{\"a\":null}]\n1.0 | NULL | NULL");
    assert_string_equal(lmf__database_last(db), "SELECT k, v, more FROM rows");
    lmf__database_close(db);
    end((const char *const[]){ "2 shops.csv", "rows.jsonl", NULL });
    lmf_test_ctx_done(ctx);
}

static void refused(void **state)
{
    static const struct { const char *name, *text, *words; size_t n; } bad[] = {
        { "a.csv", "", "has no rows", 0 }, { "a.csv", "a,b\n", "has no rows", 0 }, { "a.csv", "a,b\n1\n", "line 2: 1 fields", 0 },
        { "a.csv", "a,a\n1,2\n", "record 1", 0 }, { "a.csv", "a\n\"x", "does not close", 0 },
        { "a.jsonl", "{\"a\": 1}\n[2]\n", "line 2", 0 },
        { "a.jsonl", "{\"a\": 1", "line 1", 0 }, { "a.jsonl", "\n\n", "has no rows", 0 },
        { "a.parquet", "PAR1\0\0\0\0PAR1", "Parquet", 12 },
        { "a.jsonl", "SQLite format 3\0xxxx", "", 20 }, { "a.csv", "a\n\xff\n", "", 0 }, { "a.txt", "hello\n", "line 1", 0 },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_database *db;
    char paths[1400];
    (void)state;
    begin();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *path = put_file(bad[i].name, bad[i].text, bad[i].n ? bad[i].n : strlen(bad[i].text));
        lmf_status s = lmf__database_open(ctx, path, 5, &db);
        if (!s) { /* a damaged database opens, and fails at its first query */
            lmf_buf about;
            lmf_buf_init(&about, ctx, 4096);
            s = lmf__database_describe(db, &about);
            lmf_buf_clear(&about);
            lmf__database_close(db);
        }
        if (!s || !strstr(lmf_error(ctx), bad[i].words))
            fail_msg("%zu: \"%s\" does not say \"%s\"", i, s ? lmf_error(ctx) : "(nothing)", bad[i].words);
        remove(path);
    }
    const char *one = put_file("a.csv", "a\n1\n", 4);
    snprintf(paths, sizeof paths, "%s,%s", one, one);
    assert_refused(ctx, LMF_E_ARG, "there is a table \"a\" already", lmf__database_open(ctx, paths, 5, &db));
    snprintf(paths, sizeof paths, "%s,", one);
    assert_int_not_equal(lmf__database_open(ctx, paths, 5, &db), LMF_OK);
    assert_int_not_equal(lmf__database_open(ctx, "/no/such.csv", 5, &db), LMF_OK);
    end((const char *const[]){ "a.csv", NULL });
    lmf_test_ctx_done(ctx);
}

static char *read_file(lmf_ctx *ctx, const char *name, lmf_buf *out)
{
    char path[640];
    lmf_map f;
    snprintf(path, sizeof path, "%s/out/%s", folder, name);
    lmf_buf_init(out, ctx, 1 << 20);
    assert_ok(ctx, lmf_file_map(ctx, path, &f));
    assert_ok(ctx, lmf_buf_append(out, f.data, f.n));
    lmf_file_unmap(&f);
    return out->data;
}

/* Query, table and chart of the last question that was answered. */
static void report(void **state)
{
    static const char csv[] = "year,sold,shop\n2020,3,=A\n2021,,B\n2022,7.5,\"C \"\"x\"\"\"\n";
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_database *db;
    lmf_buf text;
    char out[640];
    json_t *got;
    (void)state;
    begin();
    snprintf(out, sizeof out, "%s/out", folder);
    assert_ok(ctx, lmf__database_open(ctx, put_file("t.csv", csv, sizeof csv - 1), 5, &db));
    assert_refused(ctx, LMF_E_NOT_FOUND, "no query", lmf__database_report(db, out, &got));
    check_query(ctx, db, "SELECT * FROM t", "year | sold | shop\n2020 | 3.0 | =A\n2021 | NULL | B\n2022 | 7.5 | C \"x\"");
    lmf_buf_init(&text, ctx, 100);
    assert_int_not_equal(lmf__database_query(db, "SELECT nothing", lmf_tool_clock_now() + 5, &(lmf_tool_out){ &text, 100, 0 }), LMF_OK);
    lmf_buf_clear(&text);
    assert_ok(ctx, lmf__database_report(db, out, &got));
    char *said = json_dumps(got, JSON_SORT_KEYS);
    assert_string_equal(said, "{\"columns\": [\"year\", \"sold\", \"shop\"], \"files\": [\"query.sql\", \"table.csv\", \"chart.svg\"], "
                        "\"query\": \"SELECT * FROM t\", \"rows\": [[2020, 3.0, \"=A\"], "
                        "[2021, null, \"B\"], [2022, 7.5, \"C \\\"x\\\"\"]], "
                        "\"rows_cut\": false}");
    free(said);
    json_decref(got);
    assert_string_equal(read_file(ctx, "table.csv", &text),
                        "\"year\",\"sold\",\"shop\"\r\n2020,3,\"'=A\"\r\n2021,,\"B\"\r\n2022,7.5,\"C \"\"x\"\"\"\r\n");
    lmf_buf_clear(&text);
    assert_string_equal(read_file(ctx, "query.sql", &text), "SELECT * FROM t\n");
    lmf_buf_clear(&text);
    assert_non_null(strstr(read_file(ctx, "chart.svg", &text), "<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert_non_null(strstr(text.data, ">year</text>"));
    assert_non_null(strstr(text.data, ">sold</text>"));
    lmf_buf_clear(&text);
    check_query(ctx, db, "SELECT shop FROM t WHERE year = 2021", "shop\nB");
    assert_ok(ctx, lmf__database_report(db, NULL, &got)); /* no files */
    assert_int_equal(json_array_size(json_object_get(got, "files")), 0);
    json_decref(got);
    lmf__database_close(db);
    end((const char *const[]){ "t.csv", "out/query.sql", "out/table.csv", "out/chart.svg", "out", NULL });
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(database) = { { "types of files", types }, { "files that are none", refused }, { "a report", report }, { 0 } };
