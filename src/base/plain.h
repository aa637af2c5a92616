/* SPDX-License-Identifier: Apache-2.0 */
/* plain: bytes of any origin as text that a terminal only shows. Sentences and names pass here before they are printed.
 * Threads: any. */
#ifndef LMF_BASE_PLAIN_H
#define LMF_BASE_PLAIN_H
#include <stdbool.h>
#include <stddef.h>

/* Bytes of the UTF-8 character at p, of which n may be read up to a NUL; 0: none is there (overlong, surrogate, cut, past U+10FFFF). */
size_t lmf_utf8_length(const char *p, size_t n);
/* Whether a terminal could take the k bytes at p, a character of UTF-8, for a command. */
bool   lmf_utf8_is_command(const char *p, size_t k);
/* from as one line of UTF-8 that has no control characters and nothing that turns the direction of writing: each such byte and each byte
 * that is not UTF-8 becomes \xNN, a line feed \n. Cut between characters where n bytes don't hold it. Returns to. */
char  *lmf_plain_text(const char *from, char *to, size_t n);

#endif
