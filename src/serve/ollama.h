/* SPDX-License-Identifier: Apache-2.0 */
/* ollama: what endpoints of Ollama's interface share. Facts: the types of its Python client and docs/api.md of its repository.
 * Owner: the caller's JSON. Threads: the loop's. */
#ifndef LMF_SERVE_OLLAMA_H
#define LMF_SERVE_OLLAMA_H
#include "serve/server.h"

json_t *lmf__ollama_fault(const lmf_fault *f);                 /* {"error": "a sentence"} */
void    lmf__ollama_time(int64_t seconds, char text[40]);      /* since 1970, as RFC 3339 */
/* The body's "model", or "name", into `to`, without ":latest" where the server's names have none. It must be there. */
bool    lmf__ollama_model(const lmf_server *s, const json_t *body, json_t *to, lmf_fault *f);
/* keep_alive: seconds as a number, or "5m", "1h30m", "-1". The model stays as long as the server runs, so *unload says only that it was
 * asked to go at once. */
bool    lmf__ollama_keep_alive(const json_t *body, bool *unload, lmf_fault *f);

#endif
