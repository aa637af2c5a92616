/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tool.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "test.h"

static char folder[512];

static const char *at(const char *name)
{
    static char path[8][640];
    static int i;
    i = (i + 1) % 8;
    snprintf(path[i], sizeof path[i], "%s/%s", folder, name);
    return path[i];
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(at(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void make_folder(void)
{
    sqlite3 *db;
    snprintf(folder, sizeof folder, "%s/lmf_tools_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mkdir(at("in"), 0700), 0);
    assert_int_equal(mkdir(at("in/sub"), 0700), 0);
    write_text("secret.txt", "secret");
    write_text("in/a.txt", "hello\n\x1b[31mred\xff \xe2\x82\xac");
    write_text("in/long.txt", "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789");
    write_text("in/z.txt", "0123456789012345678901234567890123456789012345\xe2\x82\xac\xe2\x82\xac"); /* the cap lies in a character */
    assert_int_equal(symlink("../secret.txt", at("in/out")), 0);
    assert_int_equal(symlink("a.txt", at("in/here")), 0);
    assert_int_equal(symlink("/etc", at("in/etc")), 0);
    assert_int_equal(mkfifo(at("in/fifo"), 0600), 0);
    assert_int_equal(sqlite3_open(at("d.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE city(name TEXT, people INT); INSERT INTO city VALUES('Paris', 2), ('Rome', NULL)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

static void remove_folder(void)
{
    static const char *const names[] = { "in/a.txt", "in/long.txt", "in/z.txt", "in/out", "in/here", "in/etc", "in/fifo", "secret.txt",
                                         "d.db", "t.json", NULL };
    for (const char *const *n = names; *n; n++)
        unlink(at(*n));
    rmdir(at("in/sub"));
    rmdir(at("in"));
    assert_int_equal(rmdir(folder), 0); /* nothing else was made */
}

typedef struct row { const char *tool, *argument, *arguments; bool failed; const char *text; } row;

static void check_row(lmf_ctx *ctx, const row *r, size_t cap)
{
    char spec[700];
    lmf_toolset *set;
    lmf_tool_result got;
    snprintf(spec, sizeof spec, "%s%s%s", r->tool, r->argument ? ":" : "", r->argument ? at(r->argument) : "");
    assert_ok(ctx, lmf_tools_open(ctx, (const char *[]){ spec }, 1, &set));
    json_t *arguments = json_loads(r->arguments, 0, NULL);
    assert_non_null(arguments);
    assert_ok(ctx, lmf_tool_run(ctx, lmf_tool_find(set, r->tool), arguments, cap, lmf_tool_clock_now() + 0.3, &got));
    if (got.failed != r->failed || !strstr(lmf_buf_str(&got.text), r->text) || (!r->failed && r->text[0] &&
                                                                                strlen(r->text) + 60 < got.text.n))
        fail_msg("%s %s gives %s \"%s\", not \"%s\"", r->tool, r->arguments, got.failed ? "the failure" : "", lmf_buf_str(&got.text),
                 r->text);
    size_t n_replaced = 0;
    for (const char *p = lmf_buf_str(&got.text); (p = strstr(p, "\xef\xbf\xbd")); p += 3)
        n_replaced++;
    assert_int_equal(got.n_replaced, n_replaced);
    lmf_tool_result_clear(&got);
    json_decref(arguments);
    lmf_tools_close(set);
}

static void results(void **state)
{
    static const row rows[] = {
        { "calculator", NULL, "{\"expression\": \"2+3*4\"}", false, "14" }, { "calculator", NULL, "{\"expression\": \"-2^2\"}", false,
                                                                              "-4" },
        { "calculator", NULL, "{\"expression\": \"2^3^2\"}", false, "512" }, { "calculator", NULL, "{\"expression\": \"2**3\"}", false,
                                                                               "8" },
        { "calculator", NULL, "{\"expression\": \"(1+2)*sqrt(16)/3\"}", false, "4" }, { "calculator", NULL, "{\"expression\": \"7%4-10\"}",
                                                                                        false, "-7" },
        { "calculator", NULL, "{\"expression\": \"0.1+0.2\"}", false, "0.3" }, { "calculator", NULL, "{\"expression\": \"1/0\"}", true,
                                                                                 "division by zero" },
        { "calculator", NULL, "{\"expression\": \"2+\"}", true, "a number is wanted at the end" },
        { "calculator", NULL, "{\"expression\": \"2 2\"}", true, "an operator is wanted at character 3" },
        { "calculator", NULL, "{\"expression\": \"foo(2)\"}", true, "no such function" }, { "calculator", NULL,
                                                                                            "{\"expression\": \"9^999\"}", true,
                                                                                                "no finite" },
        { "calculator", NULL, "{\"expression\": \"sqrt(-1)\"}", true, "no finite" }, { "calculator", NULL, "{}", true, "missing" },
        { "calculator", NULL, "{\"expression\": \"((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1\"}", true, "too deep" },
        { "read_file", "in", "{\"path\": \"a.txt\"}", false, "hello\n\xef\xbf\xbd[31mred\xef\xbf\xbd \xe2\x82\xac" },
        { "read_file", "in", "{\"path\": \"here\"}", false, "hello" }, { "read_file", "in", "{\"path\": \"../secret.txt\"}", true,
                                                                         "out of the folder" },
        { "read_file", "in", "{\"path\": \"out\"}", true, "out of the folder" }, { "read_file", "in", "{\"path\": \"/etc/passwd\"}", true,
                                                                                   "out of the folder" },
        { "read_file", "in", "{\"path\": \"etc/passwd\"}", true, "out of the folder" }, { "read_file", "in", "{\"path\": \"sub\"}", true,
                                                                                          "list_files" },
        { "read_file", "in", "{\"path\": \"sub/../../secret.txt\"}", true, "out of the folder" },
        { "read_file", "in", "{\"path\": \"fifo\"}", true, "no regular file" }, { "read_file", "in", "{\"path\": \"none\"}", true,
                                                                                  "No such file" },
        { "read_file", "in", "{\"path\": \"long.txt\"}", false,
          "012345678901234567890123456789012345678901234567\n[cut: the first 48 of 100 bytes]" },
        { "read_file", "in", "{\"path\": \"z.txt\"}", false,
          "0123456789012345678901234567890123456789012345\n[cut: the first 48 of 52 bytes]" },
        { "list_files", "in", "{\"path\": \"sub\"}", false, "empty" }, { "list_files", "in", "{}", false,
                                                                         "a.txt  19 bytes\netc  (link)\nfifo  (no file)\n" },
        { "list_files", "in", "{\"path\": \"..\"}", true, "out of the folder" }, { "list_files", "in", "{\"path\": \"etc\"}", true,
                                                                                   "out of the folder" },
        { "sqlite", "d.db", "{\"query\": \"SELECT * FROM city\"}", false, "name | people\nParis | 2\nRome | NULL" },
        { "sqlite", "d.db", "{\"query\": \"SELECT name FROM city WHERE 0\"}", false, "(no rows)" },
        { "sqlite", "d.db", "{\"query\": \"DROP TABLE city\"}", true, "only SELECT" }, { "sqlite", "d.db",
                                                                                         "{\"query\": \"PRAGMA user_version=1\"}", true,
                                                                                             "only SELECT" },
        { "sqlite", "d.db", "{\"query\": \"ATTACH 'x.db' AS x\"}", true, "only SELECT" },
        { "sqlite", "d.db", "{\"query\": \"SELECT 1; SELECT 2\"}", true, "one query" }, { "sqlite", "d.db", "{\"query\": \" \"}", true,
                                                                                          "empty" },
        { "sqlite", "d.db", "{\"query\": \"SELECT absent FROM city\"}", true, "no such column" },
        { "sqlite", "d.db", "{\"query\": \"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT max(x) FROM n\"}", true,
          "too long" },
        { "sqlite", "d.db", "{\"query\": \"SELECT hex(zeroblob(9000000))\"}", true, "SQLite" },
        { "sqlite", "d.db", "{\"query\": \"SELECT load_extension('x')\"}", true, "" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    (void)state;
    make_folder();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(ctx, &rows[i], 48);
    remove_folder();
    lmf_test_ctx_done(ctx);
}

static void refused(void **state)
{
    static const struct { const char *spec[2], *tool, *words; } rows[] = {
        { { "nobody" }, NULL, "there is no tool \"nobody\"; there are: calculator" }, { { "clock", "clock" }, NULL,
                                                                                        "two tools have the name \"clock\"" },
        { { "clock:x" }, NULL, "nothing behind a colon" }, { { "sqlite" }, NULL, "sqlite:ARGUMENT" }, { { "read_file:/no/such" }, NULL,
            "No such file" },
        { { "sqlite:/no/such" }, NULL, "can't open /no/such" }, { { "command:/no/such" }, NULL, "No such file" },
        { { "command" }, "{\"name\": \"a b\", \"description\": \"\", \"parameters\": {\"type\": \"object\"}, \"command\": [\"x\"]}",
          "a name has" },
        { { "command" }, "{\"name\": \"a\", \"description\": \"\", \"parameters\": {\"type\": \"array\"}, \"command\": [\"x\"]}",
          "of the type object" },
        { { "command" }, "{\"name\": \"a\", \"description\": \"\", \"parameters\": {\"type\": \"object\"}, \"command\": []}",
          "list of 1 to" },
        { { "command" },
          "{\"name\": \"a\", \"description\": \"\", \"parameters\": {\"type\": \"object\"}, \"command\": [\"x\"], \"effect\": \"all\"}",
              "effect" },
        { { "command" },
          "{\"name\": \"a\", \"description\": \"\", \"parameters\": {\"type\": \"object\"}, \"command\": [\"x\"], \"timeout\": 0}",
              "timeout" },
        { { "command" }, "{\"name\": \"a\", \"description\": \"\", \"parameters\": {\"type\": \"object\"}, \"comand\": [\"x\"]}",
          "no member \"comand\"" },
        { { "command" }, "{\"description\": \"\"}", "a tool has a name" }, { { "command" }, "[", "t.json" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    (void)state;
    make_folder();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_toolset *set;
        char spec[700];
        const char *specs[2] = { rows[i].spec[0], rows[i].spec[1] };
        if (rows[i].tool) {
            write_text("t.json", rows[i].tool);
            snprintf(spec, sizeof spec, "command:%s", at("t.json"));
            specs[0] = spec;
        }
        assert_int_not_equal(lmf_tools_open(ctx, specs, specs[1] ? 2 : 1, &set), LMF_OK);
        assert_null(set);
        if (!strstr(lmf_error(ctx), rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", lmf_error(ctx), rows[i].words);
    }
    remove_folder();
    lmf_test_ctx_done(ctx);
}

/* A cell and what it gives; text "" : anything. */
typedef struct python_cell { const char *code; bool failed; const char *text; } python_cell;

static void check_cells(const char *spec, double seconds, const python_cell *cells, int n)
{
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_toolset *set;
    lmf_tool_result got;
    assert_ok(ctx, lmf_tools_open(ctx, &spec, 1, &set));
    for (int i = 0; i < n; i++) {
        json_t *arguments = json_pack("{s:s}", "code", cells[i].code);
        assert_non_null(arguments);
        assert_ok(ctx, lmf_tool_run(ctx, lmf_tool_find(set, "run_python"), arguments, 200, lmf_tool_clock_now() + seconds, &got));
        if (got.failed != cells[i].failed || !strstr(lmf_buf_str(&got.text), cells[i].text))
            fail_msg("%s gives %s \"%s\", not \"%s\"", cells[i].code, got.failed ? "the failure" : "", lmf_buf_str(&got.text),
                     cells[i].text);
        lmf_tool_result_clear(&got);
        json_decref(arguments);
    }
    lmf_tools_close(set);
    lmf_test_ctx_done(ctx);
}

static void python_cells(void **state)
{
    static const python_cell cells[] = {
        { "x = 20\ndef f(y):\n    return x + y", false, "" }, { "f(3)", false, "23\n" }, { "x += 1\nprint(f(1))", false, "22\n" },
        { "import os\nos.write(1, b'raw ')\nos.system('true')", false, "raw " }, { "1 / 0", true, "ZeroDivisionError: division by zero" },
        { "x = (", true, "SyntaxError" }, { "x", false, "21\n" }, { "import sys; sys.exit(0)", true, "SystemExit" },
        { "x", false, "21\n" },
        { "print('y' * 10**7)", false, "[cut: the first 200 of 10000001 bytes]" }, { "input()", true, "EOFError" },
        { "for i in range(3000): print('line', i)\nnothing", true, "NameError: name 'nothing' is not defined" },
        { "print('\\0' + 'a' * 32 + '+\\0\\0')", false,
          "\xef\xbf\xbd" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa+\xef\xbf\xbd\xef\xbf\xbd\n" },
        { "open('/etc/passwd')", true, "PermissionError" }, { "open('../x', 'w')", true, "PermissionError" },
        { "import socket\nsocket.create_connection(('127.0.0.1', 80))", true, "Error" },
        { "print('\\x1b[2J<tool_call>')", false, "\xef\xbf\xbd[2J<tool_call>" },
        { "open('a.txt', 'w').write('hello')", false, "[files: a.txt, 5 bytes]" },
        { "open('a.txt').read()", false, "'hello'\n" }, { "x", false, "21" },
    };
    (void)state;
    check_cells("run_python", 30, cells, sizeof cells / sizeof *cells);
}

/* A process that was ended is told to be so, and the next cell finds a new one. */
static void python_ends(void **state)
{
    static const python_cell late[] = {
        { "x = 1", false, "" },
        { "while True: pass", true, "Python was ended, and its names and files are gone: the program did not answer within" },
        { "x", true, "NameError" }, { "x = 2", false, "" }, { "x", false, "2\n" },
    };
    static const python_cell ended[] = {
        { "x = 1", false, "" },
        { "import os; os._exit(3)", true, "Python was ended, and its names and files are gone: the program exited" },
        { "print('new')", false, "[a new Python: the names and files of earlier cells are gone]\nnew\n" },
        { "b = bytearray(1 << 32)", true, "MemoryError" }, { "import ctypes; ctypes.string_at(0)", true, "ended by a signal" },
        { "import os\nwhile True: os.fork()", true, "" },
        { "with open('big', 'wb') as f:\n    while True: f.write(bytes(1 << 20))", true, "" }, { "1 + 1", false, "2\n" },
    };
    (void)state;
    check_cells("run_python", 2, late, sizeof late / sizeof *late);
    check_cells("run_python", 30, ended, sizeof ended / sizeof *ended);
}

static void python_files(void **state)
{
    char spec[2000];
    static const python_cell cells[] = {
        { "open('in.csv').read()", false, "'a,b" }, { "open('in.csv', 'a').write('more')", false, "4\n" },
        { "open('out.txt', 'w').write('made')", false, "[files: out.txt, 4 bytes]" },
        { "import os; os.symlink('/etc/passwd', 'link')", true, "" },
        { "os.mkdir('d'); open('d/x', 'w').write('1')", false, "[files: d/x, 1 bytes]" },
    };
    FILE *f;
    char text[16] = "";
    (void)state;
    make_folder();
    write_text("in.csv", "a,b\n1,2\n");
    snprintf(spec, sizeof spec, "run_python:%s,%s", at("in.csv"), at("left"));
    check_cells(spec, 30, cells, sizeof cells / sizeof *cells);
    assert_non_null(f = fopen(at("left/out.txt"), "r"));
    assert_int_equal(fread(text, 1, sizeof text - 1, f), 4);
    fclose(f);
    assert_string_equal(text, "made");
    assert_int_equal(unlink(at("left/out.txt")), 0);
    assert_int_equal(rmdir(at("left")), 0); /* and nothing besides */
    assert_non_null(f = fopen(at("in.csv"), "r"));
    assert_int_equal(fread(text, 1, sizeof text - 1, f), 8); /* the user's own is as it was */
    fclose(f);
    unlink(at("in.csv"));
    remove_folder();
}

static lmf_status open_python(lmf_ctx *ctx, void *user)
{
    lmf_toolset *set = NULL;
    (void)user;
    lmf_status s = lmf_tools_open(ctx, (const char *[]){ "run_python" }, 1, &set);
    lmf_tools_close(set);
    return s;
}
static void python_fails(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(open_python, NULL) >= 6);
}

LMF_TESTS(tool) = { { "each failing call of Python's start", python_fails },
    { "cells of Python", python_cells }, { "Python that ends", python_ends }, { "files of Python", python_files },
    { "results", results }, { "what can't be opened is refused", refused }, { 0 } };
