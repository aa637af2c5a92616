/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the handler only sets the one writable object of the program; a second signal takes the default action, so a
 * program that is stuck still ends. No SA_RESTART: a command waiting for a line is woken. */
#include <signal.h>
#include <string.h>
#include "cli/cli.h"

static volatile sig_atomic_t lmf_cli_stop_signal;

static void on_signal(int number)
{
    if (lmf_cli_stop_signal) {
        signal(number, SIG_DFL);
        raise(number); /* delivered when this handler returns */
    }
    lmf_cli_stop_signal = number;
}

void lmf__cli_catch_signals(void)
{
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    const int numbers[] = { SIGINT, SIGTERM };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup and the like stay in force */
            sigaction(numbers[i], &action, NULL);
}

int lmf__cli_signal(void)
{
    return (int)lmf_cli_stop_signal;
}

bool lmf_cli_interrupted(void)
{
    return lmf_cli_stop_signal != 0;
}

void lmf_cli_interrupt_clear(void)
{
    lmf_cli_stop_signal = 0;
}
