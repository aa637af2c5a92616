/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "cli/command.h"
#include "sandbox/sandbox.h"

_Noreturn void lmf_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "lmfast: a bug: %s:%d: %s does not hold. Nothing can be relied on after this; please report it with the command.\n", file, line, condition);
    abort();
}

typedef struct call { int argc; char **argv; int code; } call;

static void *run(void *p)
{
    call *c = p;
    c->code = lmf_cli_main(c->argc, c->argv);
    return NULL;
}

/* A command needs about 200 KB of stack, a worker as much. Where the shell allows less (ulimit -s), the command runs in a thread, and
 * threads get what is usual; those of OpenMP go by the default, too. */
int main(int argc, char **argv)
{
    enum { ENOUGH = 1 << 20, USUAL = 8 << 20 };
    int code = lmf_sandbox_main(argc, argv);
    if (code >= 0)
        return code;
    call c = { argc, argv, 1 };
    struct rlimit r;
    pthread_attr_t a;
    pthread_t t;
    bool small = getrlimit(RLIMIT_STACK, &r) == 0 && r.rlim_cur < ENOUGH && pthread_attr_init(&a) == 0;
    if (small && pthread_attr_setstacksize(&a, USUAL) == 0 && pthread_setattr_default_np(&a) == 0 && pthread_create(&t, NULL, run, &c) == 0)
        pthread_join(t, NULL);
    else
        run(&c);
    return c.code;
}
