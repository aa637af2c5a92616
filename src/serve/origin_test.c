/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/guard.h"
#include "test.h"

/* Names that only this machine has; a name that begins like one is anybody's. */
static void loopback(void **state)
{
    static const char *const own[] = { "127.0.0.1", "127.0.0.2", "127.255.255.254", "localhost", "::1" },
                      *const others[] = { "127.0.0.1.evil.example", "127.evil", "127", "128.0.0.1", "1270.0.0.1", "::2", "0.0.0.0", "",
                                          "localhost.evil.example" };
    (void)state;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!lmf_guard_is_loopback(own[i]))
            fail_msg("%s is this machine", own[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (lmf_guard_is_loopback(others[i]))
            fail_msg("%s is not this machine alone", others[i]);
}

LMF_TESTS(origin) = { { "names of this machine", loopback }, { 0 } };
