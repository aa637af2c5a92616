/* SPDX-License-Identifier: Apache-2.0 */
/* Drafts: what came after the last tokens when they stood in the session before may come again. Drafts are computed with the next step and
 * kept as far as sampling gives just them, so that an answer is what it would be without. Rule: a draft costs rows; a session whose drafts
 * fail waits longer each time before it tries again, and one that copies drafts more with each success. */
#include "infer/engine_impl.h"

enum { LEAST_MATCH = 3, MOST_MATCH = 32, MOST_WAIT = 64 };

/* Where what follows the last tokens' longest earlier occurrence begins, the latest of equals; *n_match: how many tokens match. 0:
 * nowhere. */
static int32_t find_match(const int32_t *tok, int32_t n, int32_t *n_match)
{
    int32_t best = 0;
    *n_match = LEAST_MATCH - 1;
    for (int32_t end = n - 1; end >= LEAST_MATCH; end--) {
        int32_t k = 0;
        if (tok[end - 1] != tok[n - 1] || tok[end - 2] != tok[n - 2] || tok[end - 3] != tok[n - 3])
            continue;
        while (k < end && k < MOST_MATCH && tok[end - 1 - k] == tok[n - 1 - k])
            k++;
        if (k > *n_match)
            *n_match = k, best = end;
        if (k == MOST_MATCH)
            break;
    }
    return best;
}

void lmf__session_draft(lmf_session *s, int32_t most)
{
    int32_t n_match, room = s->end - s->n_tok - 1;
    s->n_draft = 0;
    if (s->draft_wait > 0) {
        s->draft_wait--;
        return;
    }
    int32_t at = room > 0 && most > 0 ? find_match(s->tok, s->n_tok, &n_match) : 0;
    if (!at)
        return;
    int32_t n = s->draft_trust + n_match - LEAST_MATCH + 1;
    n = n < most ? n : most;
    n = n < room ? n : room;
    n = n < s->n_tok - at ? n : s->n_tok - at;
    for (int32_t i = 0; i < n; i++)
        s->draft[i] = s->tok[at + i];
    s->n_draft = n;
}

void lmf__session_judge(lmf_session *s, int32_t n_right)
{
    s->e->n_draft_tok += s->n_draft;
    s->e->n_accepted_tok += n_right;
    if (n_right == s->n_draft) {
        s->draft_trust = s->draft_trust < LMF_MAX_DRAFT ? 2 * s->draft_trust + 1 : LMF_MAX_DRAFT;
        s->draft_back = 0;
    } else if (2 * n_right < s->n_draft) {
        s->draft_trust = 0;
        s->draft_back = s->draft_back < MOST_WAIT ? 2 * s->draft_back + 2 : MOST_WAIT;
        s->draft_wait = n_right ? 0 : s->draft_back;
    }
}
