/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the handler that stops only sets the one writable object of the program; a second signal takes the default action, so a
 * program that is stuck still ends. No SA_RESTART: a command waiting for a line is woken. The handler of a file that became shorter
 * while it is mapped calls nothing but what may be called there: open, read, write, _exit. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
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

/* ---- a mapped file that has become shorter ---- */
typedef struct bytes { int fd; size_t at, n; char data[1024]; } bytes;

static int next_byte(bytes *b)
{
    if (b->at == b->n) {
        ssize_t n = read(b->fd, b->data, sizeof b->data);
        if (n <= 0)
            return -1;
        b->at = 0, b->n = (size_t)n;
    }
    return (unsigned char)b->data[b->at++];
}

static uintptr_t hex_number(bytes *b, int *c)
{
    uintptr_t v = 0;
    while ((*c = next_byte(b)) >= 0) {
        int digit = *c >= '0' && *c <= '9' ? *c - '0' : *c >= 'a' && *c <= 'f' ? *c - 'a' + 10 : -1;
        if (digit < 0)
            break;
        v = v << 4 | (uintptr_t)digit;
    }
    return v;
}

/* The file that is mapped at address, as one line that a terminal and a JSON string only show; 0: none is. */
static size_t file_at(uintptr_t address, char *name, size_t max)
{
    bytes b = { .fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC) };
    size_t n = 0;
    for (int c = 0; c >= 0 && b.fd >= 0;) {
        uintptr_t from = hex_number(&b, &c), to = hex_number(&b, &c);
        bool here = from <= address && address < to, path = false;
        for (n = 0; (c = next_byte(&b)) >= 0 && c != '\n';) {
            path |= c == '/';
            if (here && path && n < max)
                name[n++] = c < 0x20 || c >= 0x7F || c == '"' || c == '\\' ? '?' : (char)c;
        }
        if (here)
            break;
        n = 0;
    }
    if (b.fd >= 0)
        close(b.fd);
    return n;
}

static bool asks_for_json(void)
{
    static const char flag[] = "--json";
    bytes b = { .fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC) };
    bool found = false;
    size_t matched = 0;
    for (int c; b.fd >= 0 && !found && (c = next_byte(&b)) >= 0;) {
        matched = matched < sizeof flag && c == flag[matched] ? matched + 1 : c ? sizeof flag : 0;
        found = matched == sizeof flag && !c;
        matched = c ? matched : 0;
    }
    if (b.fd >= 0)
        close(b.fd);
    return found;
}

static void put(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t done = write(fd, text, n);
        if (done <= 0)
            return;
        text += done, n -= (size_t)done;
    }
}

static void on_bus_error(int number, siginfo_t *info, void *where)
{
    static const char before[] = "lmfast: ", what[] = " became shorter while it was read, or can't be read from its disk; nothing was finished",
                      json[] = "{\"error\":{\"status\":\"E_IO\",\"message\":\"";
    char name[512];
    (void)where;
    if (__atomic_exchange_n(&lmf_cli_stop_signal, number, __ATOMIC_RELAXED) == number)
        for (;;)
            pause(); /* another thread tells it and ends the process */
    size_t n = info->si_code == BUS_ADRERR ? file_at((uintptr_t)info->si_addr, name, sizeof name) : 0;
    if (n == 0) { /* no file's doing: our own mistake, as it always was */
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    if (asks_for_json()) {
        put(STDOUT_FILENO, json, sizeof json - 1);
        put(STDOUT_FILENO, name, n);
        put(STDOUT_FILENO, what, sizeof what - 1);
        put(STDOUT_FILENO, "\"}}\n", 4);
    }
    put(STDERR_FILENO, before, sizeof before - 1);
    put(STDERR_FILENO, name, n);
    put(STDERR_FILENO, what, sizeof what - 1);
    put(STDERR_FILENO, "\n", 1);
    _exit(1);
}

void lmf__cli_catch_signals(void)
{
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup and the like stay in force */
            sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* the write fails instead, and the failure is told */
    signal(SIGXFSZ, SIG_IGN);
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

/* Without this, a file that a command opens could become its standard output. Reading from these fails, and so does writing. */
void lmf__cli_hold_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            return; /* no /dev/null: nothing better is left */
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
