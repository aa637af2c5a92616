/* SPDX-License-Identifier: Apache-2.0 */
/* folder: what tools/oracle/folders.py talks to. Reads JSON lines {"model": path, "texts": [text ...], "messages": [...]} and writes for
 * each {"error": sentence}, or {"bos", "eos", "pad", "unk": id or -1, "ends": [id ...], "turn_end": id, "ids": [[as a text of a file,
 * with control tokens recognised too, without anything around] ...], "rendered": text or null, "rendered_ids": [...]}. Control tokens
 * in messages count wherever they are spelled, as in transformers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/model.h"

extern const lmf_tables lmf_all_tables;

static json_t *list_of(const int32_t *id, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(id[i]));
    return list;
}

static lmf_status ids_of(const lmf_model *m, const json_t *text, json_t *out)
{
    static const unsigned flags[] = { LMF_ENCODE_DEFAULTS, LMF_ENCODE_DEFAULTS | LMF_ENCODE_SPECIAL, LMF_ENCODE_SPECIAL };
    lmf_ids ids;
    lmf_status s = LMF_OK;
    json_t *row = json_array();
    lmf_ids_init(&ids, m->ctx, 1 << 20);
    for (size_t i = 0; !s && i < sizeof flags / sizeof *flags; i++) {
        ids.n = 0;
        s = lmf_tokenizer_encode(m->tokenizer, json_string_value(text), json_string_length(text), flags[i], &ids);
        json_array_append_new(row, list_of(ids.data, ids.n));
    }
    lmf_ids_clear(&ids);
    json_array_append_new(out, row);
    return s;
}

static lmf_status answer(const lmf_model *m, const json_t *row, json_t *out)
{
    const lmf_token_ids *id = lmf_tokenizer_ids(m->tokenizer);
    json_t *ids = json_array(), *text, *vars = json_pack("{s:O}", "messages", json_object_get(row, "messages"));
    size_t i;
    lmf_buf rendered;
    lmf_ids chat;
    json_object_set_new(out, "ids", ids);
    json_object_set_new(out, "bos", json_integer(id->bos));
    json_object_set_new(out, "eos", json_integer(id->eos));
    json_object_set_new(out, "pad", json_integer(id->pad));
    json_object_set_new(out, "unk", json_integer(id->unk));
    json_object_set_new(out, "turn_end", json_integer(m->chat.turn_end));
    json_object_set_new(out, "ends", list_of(m->chat.eos, (size_t)m->chat.n_eos));
    json_array_foreach(json_object_get(row, "texts"), i, text)
        LMF_TRY(ids_of(m, text, ids));
    lmf_buf_init(&rendered, m->ctx, 1 << 20);
    lmf_ids_init(&chat, m->ctx, 1 << 20);
    if (!lmf_chat_render(&m->chat, vars, true, &rendered, NULL) && !lmf_chat_encode(&m->chat, vars, true, &chat)) {
        json_object_set_new(out, "rendered", json_stringn(lmf_buf_str(&rendered), rendered.n));
        json_object_set_new(out, "rendered_ids", list_of(chat.data, chat.n));
    } else {
        json_object_set_new(out, "rendered", json_null());
        json_object_set_new(out, "why", json_string(lmf_error(m->ctx)));
    }
    json_decref(vars);
    lmf_buf_clear(&rendered);
    lmf_ids_clear(&chat);
    return LMF_OK;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0) {
        lmf_ctx ctx;
        lmf_model *m = NULL;
        json_t *row = json_loads(line, 0, NULL), *out = json_object();
        const char *path = json_string_value(json_object_get(row, "model"));
        if (!path)
            return 2;
        lmf_ctx_init(&ctx, &lmf_all_tables);
        lmf_status s = lmf_model_open(&ctx, path, &m);
        if (!s) {
            m->chat.control = LMF_CONTROL_EVERYWHERE;
            s = answer(m, row, out);
        }
        if (s)
            json_object_set_new(out, "error", json_string(lmf_error(&ctx)));
        lmf_model_close(m);
        char *text = json_dumps(out, JSON_COMPACT);
        puts(text ? text : "{\"error\": \"no JSON\"}");
        fflush(stdout);
        free(text);
        json_decref(out);
        json_decref(row);
        lmf_ctx_clear(&ctx);
    }
    free(line);
    return 0;
}
