/* SPDX-License-Identifier: Apache-2.0 */
/* Python in the sandbox (tier A): a process that reads cells and lives as long as the tool, so that names stay from one to the next.
 * A cell is a line "MARK BYTES" and its text; what it writes comes back as it is, then a NUL, the mark and + or -. The mark is made anew
 * for each cell, so that output can't end it by chance; a cell that looks for it deceives its own model alone.
 * Rule: a process that was late, ended, or reached a limit is gone with its names and files, and the model is told; it never runs without
 * the sandbox. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include "agent/tool.h"
#include "base/file.h"
#include "base/output.h"
#include "base/plain.h"
#include "data/source.h"
#include "format/json.h"
#include "sandbox/sandbox.h"

enum { MAX_CODE = 1 << 16, MARK = 16, TAIL = 600, MAX_FILES = 16, MAX_FILE = 64 << 20, MAX_SAID = 20 };

static const char driver[] =
    "import ast, os, sys, traceback\n"
    "take, write = os.dup(0), os.write\n"
    "os.dup2(os.open('/dev/null', os.O_RDONLY), 0)\n"
    "os.dup2(1, 2)\n"
    "names, me = {'__name__': '__main__'}, os.getpid()\n"
    "def read(n):\n"
    "    b = b''\n"
    "    while len(b) < n:\n"
    "        part = os.read(take, n - len(b))\n"
    "        if not part: os._exit(0)\n"
    "        b += part\n"
    "    return b\n"
    "def line():\n"
    "    b = b''\n"
    "    while not b.endswith(b'\\n'): b += read(1)\n"
    "    return b\n"
    "def run(text):\n"
    "    tree = ast.parse(text, 'cell')\n"
    "    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None\n"
    "    exec(compile(tree, 'cell', 'exec'), names)\n"
    "    value = eval(compile(ast.Expression(last.value), 'cell', 'eval'), names) if last else None\n"
    "    if value is not None: print(repr(value))\n"
    "while True:\n"
    "    mark, n = line().split()\n"
    "    text, good = read(int(n)), b'+'\n"
    "    try:\n"
    "        run(text.decode())\n"
    "    except BaseException as e:\n"
    "        if os.getpid() != me: os._exit(1)\n"
    "        good, at = b'-', e.__traceback__\n"
    "        while at and at.tb_frame.f_code.co_filename != 'cell': at = at.tb_next\n"
    "        sys.stdout.flush()\n"
    "        traceback.print_exception(type(e), e, at, limit=-8)\n"
    "    if os.getpid() != me: os._exit(0)\n"
    "    sys.stdout.flush()\n"
    "    sys.stderr.flush()\n"
    "    write(1, b'\\0' + mark + good)\n";

typedef struct python {
    const char       *folder;          /* for files that cells leave; NULL: they are named, and go */
    const char       *path[MAX_FILES]; /* that cells find in their folder */
    int               n_paths;
    lmf_sandbox_live *live;            /* NULL: not started */
    json_t           *known;           /* name: bytes of files that were told */
    bool              lost;            /* a process before this one is gone */
} python;

/* ---- the process ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static lmf_status start(lmf_ctx *ctx, python *p)
{
    static const char *const argv[] = { "python3", "-I", "-c", driver, NULL };
    lmf_sandbox_job job = { .argv = argv };
    lmf_sandbox_file *file = lmf_alloc(ctx, MAX_FILES * sizeof *file);
    lmf_buf *text = lmf_alloc(ctx, MAX_FILES * sizeof *text);
    lmf_status s = file && text ? LMF_OK : LMF_NO_MEMORY(ctx, MAX_FILES * sizeof *text, "files for Python");
    lmf_sandbox_limits_default(&job.limits);
    job.limits.wall_s = 1e6, job.limits.cpu_s = 3600;
    job.limits.file_bytes = MAX_FILE, job.limits.scratch_bytes = 4 * (int64_t)MAX_FILE;
    for (; !s && job.n_files < p->n_paths; job.n_files++) {
        lmf_buf *b = &text[job.n_files];
        lmf_buf_init(b, ctx, MAX_FILE);
        s = lmf_source_read(ctx, p->path[job.n_files], "a file for Python", b);
        file[job.n_files] = (lmf_sandbox_file){ base_name(p->path[job.n_files]), lmf_buf_str(b), b->n };
    }
    job.files = file;
    if (!s)
        s = lmf_sandbox_start(ctx, &job, &p->live);
    for (int i = 0; text && i < p->n_paths; i++)
        lmf_buf_clear(&text[i]);
    lmf_free(ctx, text, MAX_FILES * sizeof *text);
    lmf_free(ctx, file, MAX_FILES * sizeof *file);
    return s;
}

static bool was_put(const python *p, const char *name)
{
    for (int i = 0; i < p->n_paths; i++)
        if (strcmp(base_name(p->path[i]), name) == 0)
            return true;
    return false;
}

static lmf_status save_one(lmf_ctx *ctx, const python *p, const lmf_sandbox_result *r, const char *name)
{
    char path[4096], shown[256];
    lmf_buf b;
    if (strchr(name, '/') || name[0] == '.')
        return LMF_OK; /* told as left where it was */
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, p->folder, name));
    lmf_buf_init(&b, ctx, MAX_FILE);
    lmf_status s = lmf_sandbox_read(r, name, &b);
    if (!s)
        s = lmf_file_write(ctx, path, lmf_buf_str(&b), b.n);
    lmf_buf_clear(&b);
    return s ? lmf_fail_prefix(ctx, s, "the file %s", lmf_plain_text(name, shown, sizeof shown)) : LMF_OK;
}

/* Tells the files that are new or of another size, and keeps them. */
static lmf_status tell_files(lmf_ctx *ctx, python *p, lmf_tool_out *out)
{
    const lmf_sandbox_result *r;
    int n_said = 0;
    LMF_TRY(lmf_sandbox_look(p->live, &r));
    for (int i = 0; i < r->n_left; i++) {
        const lmf_sandbox_left *f = &r->left[i];
        char shown[256];
        const json_t *known = json_object_get(p->known, f->name);
        if (was_put(p, f->name))
            continue;
        if (p->folder)
            LMF_TRY(save_one(ctx, p, r, f->name));
        if (known && json_integer_value(known) == (json_int_t)f->n_bytes)
            continue;
        json_object_set_new_nocheck(p->known, f->name, json_integer((json_int_t)f->n_bytes));
        if (n_said++ < MAX_SAID)
            lmf_tool_printf(out, "%s%s, %lld bytes", n_said == 1 ? "\n[files: " : "; ", lmf_plain_text(f->name, shown, sizeof shown),
                            (long long)f->n_bytes);
    }
    if (n_said > MAX_SAID)
        lmf_tool_printf(out, "; and %d more", n_said - MAX_SAID);
    if (n_said)
        lmf_tool_printf(out, "]");
    return LMF_OK;
}

/* ---- a cell ---- */

typedef struct cell {
    lmf_tool_out *out;
    char   end[2 * MARK + 1];  /* NUL and mark */
    size_t k;                  /* bytes of it that stand at the end of what came */
    char   tail[TAIL];         /* what was written last, round */
    size_t n;                  /* bytes that were written */
    bool   good;
} cell;

static void put(cell *c, const char *p, size_t n)
{
    lmf_tool_put(c->out, p, n);
    for (size_t i = n > TAIL ? n - TAIL : 0; i < n; i++)
        c->tail[(c->n + i) % TAIL] = p[i];
    c->n += n;
}

static bool take(void *user, const char *p, size_t n)
{
    cell *c = user;
    for (size_t i = 0; i < n;) {
        if (c->k == sizeof c->end) {
            c->good = p[i] == '+';
            return true;
        }
        if (c->k == 0) { /* all up to a NUL at once */
            const char *nul = memchr(p + i, 0, n - i);
            size_t run = nul ? (size_t)(nul - p) - i : n - i;
            put(c, p + i, run);
            i += run + (nul != NULL);
            c->k = nul != NULL;
        } else if (p[i] == c->end[c->k]) {
            c->k++, i++;
        } else { /* its first byte is its only NUL: none of it begins another */
            put(c, c->end, c->k);
            c->k = 0;
        }
    }
    return false;
}

/* The last of what a cell wrote, where its error stands. */
static lmf_status cell_failed(lmf_ctx *ctx, const cell *c)
{
    char text[TAIL + 1];
    size_t n = c->n < TAIL ? c->n : TAIL;
    for (size_t i = 0; i < n; i++) {
        text[i] = c->tail[(c->n - n + i) % TAIL];
        text[i] = text[i] ? text[i] : '?';
    }
    while (n && text[n - 1] == '\n')
        n--;
    text[n] = 0;
    return LMF_FAIL(ctx, LMF_E_ARG, "%s%s", c->n > TAIL ? "... " : "", text);
}

static lmf_status run_cell(lmf_ctx *ctx, python *p, const char *code, double seconds, lmf_tool_out *out)
{
    unsigned char bytes[MARK];
    lmf_buf frame;
    cell c = { .out = out };
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return LMF_FAIL(ctx, LMF_E_IO, "no random bytes: %s", strerror(errno));
    for (int i = 0; i < MARK; i++)
        c.end[1 + 2 * i] = "0123456789abcdef"[bytes[i] >> 4], c.end[2 + 2 * i] = "0123456789abcdef"[bytes[i] & 15];
    lmf_buf_init(&frame, ctx, MAX_CODE + 128);
    lmf_status s = lmf_buf_printf(&frame, "%.*s %zu\n", 2 * MARK, c.end + 1, strlen(code));
    if (!s)
        s = lmf_buf_puts(&frame, code);
    if (!s)
        s = lmf_sandbox_talk(p->live, lmf_buf_str(&frame), frame.n, seconds, take, &c);
    lmf_buf_clear(&frame);
    if (s) {
        lmf_sandbox_end_live(p->live);
        p->live = NULL, p->lost = true;
        json_object_clear(p->known);
        return lmf_fail_prefix(ctx, s, "Python was ended, and its names and files are gone");
    }
    s = tell_files(ctx, p, out);
    return s ? s : c.good ? LMF_OK : cell_failed(ctx, &c);
}

static lmf_status run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    python *p = use->state;
    const char *code = json_string_value(json_object_get(arguments, "code"));
    if (!code || strlen(code) != json_string_length(json_object_get(arguments, "code")))
        return LMF_FAIL(ctx, LMF_E_ARG, "the argument code is missing, or has a NUL in it");
    if (strlen(code) > MAX_CODE)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "the code has more than %d bytes", MAX_CODE);
    if (!p->live) {
        LMF_TRY(start(ctx, p));
        if (p->lost)
            lmf_tool_printf(out, "[a new Python: the names and files of earlier cells are gone]\n");
    }
    double seconds = until - lmf_tool_clock_now();
    return run_cell(ctx, p, code, seconds > 0 ? seconds : 0, out);
}

/* ---- opening ---- */

static lmf_status read_argument(lmf_arena *a, const char *argument, lmf_tool_use *use)
{
    python *p = use->state;
    char *rest = lmf_arena_strdup(a, argument);
    if (!rest)
        return LMF_NO_MEMORY(a->ctx, strlen(argument), "a tool");
    for (char *at = rest; at && *at;) {
        char *comma = strchr(at, ',');
        if (comma)
            *comma++ = 0;
        lmf_path_kind kind = lmf_path_stat(at);
        if (kind == LMF_PATH_FILE && p->n_paths == MAX_FILES)
            return LMF_FAIL(a->ctx, LMF_E_LIMIT, "the tool run_python takes at most %d files", MAX_FILES);
        if (kind == LMF_PATH_FILE && was_put(p, base_name(at)))
            return LMF_FAIL(a->ctx, LMF_E_ARG, "the tool run_python gets two files called \"%.200s\"", base_name(at));
        if (kind != LMF_PATH_FILE && p->folder)
            return LMF_FAIL(a->ctx, LMF_E_ARG, "the tool run_python: \"%.200s\" is no file, and one folder is named already", at);
        if (kind == LMF_PATH_FILE)
            p->path[p->n_paths++] = at, use->is_private = true;
        else
            p->folder = at;
        at = comma;
    }
    return !p->folder || lmf_output_stat(p->folder) == LMF_OUTPUT_NONE ? LMF_OK
         : LMF_FAIL(a->ctx, LMF_E_EXISTS, "the tool run_python: %.300s exists; give the name of a folder that is not there yet", p->folder);
}

static lmf_status describe(lmf_arena *a, lmf_tool_use *use)
{
    const python *p = use->state;
    lmf_buf text;
    lmf_buf_init(&text, a->ctx, 1 << 14);
    lmf_buf_printf(&text, "%s%s", use->description, p->n_paths ? " Files:" : "");
    for (int i = 0; i < p->n_paths; i++)
        lmf_buf_printf(&text, "%s %s", i ? "," : "", base_name(p->path[i]));
    lmf_status s = text.status;
    if (!s && !(use->description = lmf_arena_strdup(a, lmf_buf_str(&text))))
        s = LMF_NO_MEMORY(a->ctx, text.n, "a description");
    lmf_buf_clear(&text);
    return s;
}

/* The process starts with the tool: where it can't, no question is asked. */
static lmf_status open_python(lmf_arena *a, const char *argument, lmf_tool_use *use)
{
    python *p = use->state = lmf_arena_alloc(a, sizeof *p);
    if (!p || !(p->known = json_object()))
        return LMF_NO_MEMORY(a->ctx, sizeof *p, "a tool");
    if (argument)
        LMF_TRY(read_argument(a, argument, use));
    LMF_TRY(describe(a, use));
    lmf_status s = start(a->ctx, p);
    if (!s && p->folder)
        s = lmf_dir_create(a->ctx, p->folder);
    return s ? lmf_fail_prefix(a->ctx, s, "the tool run_python") : LMF_OK;
}

static void close_python(lmf_ctx *ctx, lmf_tool_use *use)
{
    python *p = use->state;
    (void)ctx;
    if (!p)
        return;
    lmf_sandbox_end_live(p->live);
    json_decref(p->known);
}

const lmf_tool lmf_tool_run_python = { .name = "run_python",
    .description = "Runs Python and returns what it prints, and the value of a last expression. Names stay from call to call.",
    .schema = "{\"type\": \"object\", \"properties\": {\"code\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 4000}}, "
              "\"required\": [\"code\"]}",
    .effect = LMF_READS, .timeout_s = 20,
    .argument = "files that it may read, by their names, and a new folder for the files that it leaves, parted by commas",
    .open = open_python, .close = close_python, .run = run };
