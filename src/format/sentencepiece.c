/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a field that changes ids is read or refused; a known field of another wire type is damage, not a field of others. Messages that
 * come twice are laid over each other, as protocol buffers have it. */
#include "format/sentencepiece.h"
#include <string.h>
#include "base/file.h"
#include "base/wire.h"
#include "text/tokenizer/tokenizer.h"

enum { MODEL_PIECE = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3, MODEL_DENORMALIZER = 5, PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_KIND = 3,
       TRAINER_TYPE = 3, TRAINER_SUFFIX = 24, TRAINER_BYTES = 35, TRAINER_BOS = 46, TRAINER_EOS = 47, TRAINER_PAD = 48, NORM_MAP = 2,
       NORM_PREFIX = 3, NORM_EXTRA = 4, NORM_ESCAPE = 5 };
enum { FILE_MAX_BYTES = 64 << 20, BPE = 2 };

typedef struct parser {
    lmf_sentencepiece *sp;
    const char        *name;
    uint64_t           type;        /* of the model; 1 unless said */
    bool               suffix, extra, escape;
    size_t             n_map, n_back; /* bytes of the character maps */
    lmf_bytes          bos, eos, pad; /* names of control pieces */
} parser;

static lmf_status broken(const parser *r, const char *what)
{
    return LMF_FAIL(r->sp->ctx, LMF_E_FORMAT, "%s is no SentencePiece model: %s", r->name, what);
}

static lmf_status refuse(const parser *r, const char *what)
{
    return LMF_FAIL(r->sp->ctx, LMF_E_UNSUPPORTED, "%s: %s is not supported", r->name, what);
}

static lmf_wire message(const lmf_wire_field *f) { return (lmf_wire){ f->p, f->n ? f->p + f->n : f->p, f->kind != LMF_WIRE_BYTES }; }

static bool take_flag(lmf_wire *w, const lmf_wire_field *f)
{
    w->bad |= f->kind != LMF_WIRE_VARINT;
    return f->x != 0;
}

static lmf_bytes take_bytes(lmf_wire *w, const lmf_wire_field *f)
{
    w->bad |= f->kind != LMF_WIRE_BYTES;
    return (lmf_bytes){ (const char *)f->p, f->n };
}

/* ---- messages ---- */
static lmf_status read_piece(const parser *r, lmf_wire w, size_t id)
{
    lmf_ctx *ctx = r->sp->ctx;
    lmf_wire_field f;
    lmf_piece p = { .kind = LMF_PIECE_NORMAL };
    uint64_t kind = LMF_PIECE_NORMAL;
    while (lmf_wire_next(&w, &f)) {
        if (f.number == PIECE_TEXT) {
            p.text = take_bytes(&w, &f);
        } else if (f.number == PIECE_SCORE) {
            uint32_t bits = (uint32_t)f.x;
            w.bad |= f.kind != LMF_WIRE_FIXED32;
            memcpy(&p.score, &bits, sizeof bits);
        } else if (f.number == PIECE_KIND) {
            w.bad |= f.kind != LMF_WIRE_VARINT;
            kind = f.x;
        }
    }
    if (w.bad)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is no SentencePiece model: piece %zu is damaged", r->name, id);
    if (!p.text.n || !lmf_utf8_is_valid(p.text.p, p.text.n))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s: piece %zu is empty or not UTF-8", r->name, id);
    if (p.text.n > LMF_PIECE_MAX_BYTES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%s: piece %zu has %zu bytes, more than %d", r->name, id, p.text.n, LMF_PIECE_MAX_BYTES);
    if (kind < LMF_PIECE_NORMAL || kind > LMF_PIECE_BYTE)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s: piece %zu is of the unknown type %llu", r->name, id, (unsigned long long)kind);
    if (!(p.score - p.score == 0.0f))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s: the score of piece %zu is not finite", r->name, id);
    p.kind = (lmf_piece_kind)kind;
    p.text.p = lmf_arena_strndup(&r->sp->arena, p.text.p, p.text.n);
    r->sp->piece[id] = p;
    return p.text.p ? LMF_OK : LMF_NO_MEMORY(ctx, p.text.n, "a piece");
}

static lmf_status read_trainer(parser *r, lmf_wire w)
{
    lmf_wire_field f;
    while (lmf_wire_next(&w, &f))
        switch (f.number) {
        case TRAINER_TYPE:
            w.bad |= f.kind != LMF_WIRE_VARINT;
            r->type = f.x;
            break;
        case TRAINER_SUFFIX: r->suffix = take_flag(&w, &f); break;
        case TRAINER_BYTES: r->sp->byte_fallback = take_flag(&w, &f); break;
        case TRAINER_BOS: r->bos = take_bytes(&w, &f); break;
        case TRAINER_EOS: r->eos = take_bytes(&w, &f); break;
        case TRAINER_PAD: r->pad = take_bytes(&w, &f); break;
        default: break; /* how it was trained */
        }
    return w.bad ? broken(r, "its trainer_spec is damaged") : LMF_OK;
}

static lmf_status read_normalizer(parser *r, lmf_wire w)
{
    lmf_wire_field f;
    while (lmf_wire_next(&w, &f))
        switch (f.number) {
        case NORM_MAP: r->n_map = take_bytes(&w, &f).n; break;
        case NORM_PREFIX: r->sp->add_dummy_prefix = take_flag(&w, &f); break;
        case NORM_EXTRA: r->extra = take_flag(&w, &f); break;
        case NORM_ESCAPE: r->escape = take_flag(&w, &f); break;
        default: break;
        }
    return w.bad ? broken(r, "its normalizer_spec is damaged") : LMF_OK;
}

static lmf_status read_denormalizer(parser *r, lmf_wire w)
{
    lmf_wire_field f;
    while (lmf_wire_next(&w, &f))
        if (f.number == NORM_MAP)
            r->n_back = take_bytes(&w, &f).n;
    return w.bad ? broken(r, "its denormalizer_spec is damaged") : LMF_OK;
}

static lmf_status count_pieces(const parser *r, lmf_wire w, size_t *n)
{
    lmf_wire_field f;
    for (*n = 0; lmf_wire_next(&w, &f);)
        *n += f.number == MODEL_PIECE;
    if (w.bad)
        return broken(r, "the file is cut or damaged");
    if (!*n)
        return broken(r, "it has no pieces");
    return *n <= LMF_PIECES_MAX ? LMF_OK : LMF_FAIL(r->sp->ctx, LMF_E_LIMIT, "%s: %zu pieces; at most %d are supported", r->name, *n,
                                                    LMF_PIECES_MAX);
}

static lmf_status read_model(parser *r, lmf_wire w)
{
    lmf_sentencepiece *sp = r->sp;
    lmf_wire_field f;
    size_t n;
    LMF_TRY(count_pieces(r, w, &n));
    sp->piece = lmf_arena_array(&sp->arena, n, sizeof *sp->piece);
    if (!sp->piece)
        return LMF_NO_MEMORY(sp->ctx, n * sizeof *sp->piece, "pieces");
    while (lmf_wire_next(&w, &f)) {
        if (f.number == MODEL_PIECE)
            LMF_TRY(read_piece(r, message(&f), sp->n++));
        else if (f.number == MODEL_TRAINER)
            LMF_TRY(read_trainer(r, message(&f)));
        else if (f.number == MODEL_NORMALIZER)
            LMF_TRY(read_normalizer(r, message(&f)));
        else if (f.number == MODEL_DENORMALIZER)
            LMF_TRY(read_denormalizer(r, message(&f)));
    }
    return LMF_OK;
}

/* ---- what is supported ---- */
static lmf_status check_settings(const parser *r)
{
    static const char *const types[] = { "", "Unigram", "", "Word", "Char" };
    if (r->type != BPE)
        return LMF_FAIL(r->sp->ctx, LMF_E_UNSUPPORTED, "%s: the SentencePiece model type %s is not supported; BPE is", r->name,
                        r->type >= 1 && r->type <= 4 ? types[r->type] : "(unknown)");
    if (r->suffix)
        return refuse(r, "treat_whitespace_as_suffix");
    if (r->n_map)
        return refuse(r, "normalization by a precompiled_charsmap (nmt_nfkc and others but identity)");
    if (r->n_back)
        return refuse(r, "a denormalizer with a precompiled_charsmap");
    if (r->extra)
        return refuse(r, "remove_extra_whitespaces");
    return r->escape ? LMF_OK : refuse(r, "escape_whitespaces false");
}

static bool is_one_char(lmf_bytes b)
{
    size_t n = 0;
    for (size_t i = 0; i < b.n; i++)
        n += ((uint8_t)b.p[i] & 0xc0) != 0x80;
    return n == 1;
}

static lmf_status check_piece(const parser *r, size_t id, bool has_byte[256])
{
    lmf_sentencepiece *sp = r->sp;
    const lmf_piece *p = &sp->piece[id];
    if (p->kind == LMF_PIECE_UNUSED)
        return refuse(r, "a piece of the type UNUSED, which is cut into others,");
    if (p->kind == LMF_PIECE_CONTROL && is_one_char(p->text))
        return refuse(r, "a control piece of one character, which texts could spell,");
    if (p->kind == LMF_PIECE_USER_DEFINED && memchr(p->text.p, ' ', p->text.n))
        return refuse(r, "a user-defined piece with a space that is not U+2581");
    if (p->kind == LMF_PIECE_UNKNOWN && sp->unk >= 0)
        return LMF_FAIL(sp->ctx, LMF_E_FORMAT, "%s: the pieces %d and %zu are both of the type UNKNOWN", r->name, sp->unk, id);
    if (p->kind == LMF_PIECE_UNKNOWN)
        sp->unk = (int32_t)id;
    if (p->kind != LMF_PIECE_BYTE)
        return LMF_OK;
    int b = lmf_byte_token(p->text.p, p->text.n);
    if (b < 0 || !sp->byte_fallback)
        return LMF_FAIL(sp->ctx, LMF_E_FORMAT, b < 0 ? "%s: piece %zu is of the type BYTE, but is not <0x00> to <0xFF>" :
                        "%s: piece %zu is of the type BYTE, but byte_fallback is false", r->name, id);
    has_byte[b] = true;
    return LMF_OK;
}

static int32_t control_of(const lmf_sentencepiece *sp, lmf_bytes name)
{
    for (size_t i = 0; i < sp->n; i++)
        if (sp->piece[i].kind == LMF_PIECE_CONTROL && sp->piece[i].text.n == name.n && !memcmp(sp->piece[i].text.p, name.p, name.n))
            return (int32_t)i;
    return -1;
}

static lmf_status check_pieces(const parser *r)
{
    lmf_sentencepiece *sp = r->sp;
    bool has_byte[256] = { false };
    for (size_t i = 0; i < sp->n; i++)
        LMF_TRY(check_piece(r, i, has_byte));
    if (sp->unk < 0)
        return broken(r, "no piece is of the type UNKNOWN");
    for (int b = 0; b < 256 && sp->byte_fallback; b++)
        if (!has_byte[b])
            return LMF_FAIL(sp->ctx, LMF_E_FORMAT, "%s: byte_fallback is true, but there is no piece <0x%02X>", r->name, (unsigned)b);
    sp->bos = control_of(sp, r->bos), sp->eos = control_of(sp, r->eos), sp->pad = control_of(sp, r->pad);
    return LMF_OK;
}

lmf_status lmf_sentencepiece_parse(lmf_ctx *ctx, const void *p, size_t n, const char *name, lmf_sentencepiece *out)
{
    parser r = { .sp = out, .name = name, .type = 1, .extra = true, .escape = true, .bos = { "<s>", 3 }, .eos = { "</s>", 4 },
                 .pad = { "<pad>", 5 } };
    *out = (lmf_sentencepiece){ .ctx = ctx, .unk = -1, .bos = -1, .eos = -1, .pad = -1, .add_dummy_prefix = true };
    lmf_arena_init(&out->arena, ctx, SIZE_MAX / 2); /* as many pieces as the file has */
    lmf_status s = n ? read_model(&r, (lmf_wire){ p, (const uint8_t *)p + n, false }) : broken(&r, "it is empty");
    if (!s)
        s = check_settings(&r);
    if (!s)
        s = check_pieces(&r);
    if (s)
        lmf_sentencepiece_close(out);
    return s;
}

lmf_status lmf_sentencepiece_open(lmf_ctx *ctx, const char *path, lmf_sentencepiece *out)
{
    char *data;
    size_t n;
    *out = (lmf_sentencepiece){ 0 };
    LMF_TRY(lmf_file_read(ctx, path, FILE_MAX_BYTES, &data, &n));
    lmf_status s = lmf_sentencepiece_parse(ctx, data, n, path, out);
    lmf_free(ctx, data, n + 1);
    return s;
}

void lmf_sentencepiece_close(lmf_sentencepiece *sp)
{
    if (sp->ctx)
        lmf_arena_clear(&sp->arena);
    *sp = (lmf_sentencepiece){ 0 };
}
