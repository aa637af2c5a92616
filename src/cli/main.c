/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include "cli/command.h"

_Noreturn void lmf_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "lmfast: a bug: %s:%d: %s does not hold. Nothing can be relied on after this; please report it with the command.\n", file, line, condition);
    abort();
}

int main(int argc, char **argv)
{
    return lmf_cli_main(argc, argv);
}
