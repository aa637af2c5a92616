/* SPDX-License-Identifier: Apache-2.0 */
/* The server under deadlines of a second: clients that send their head, their body or nothing slowly, and such that do not read, are closed
 * at their time, while others are served. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "infer/engine_test.h"
#include "serve/serve.h"

typedef struct fixture {
    lmf_ctx *ctx;
    lmf_model *m;
    lmf_engine *e;
    pthread_t thread;
    atomic_int port;
    atomic_bool stop;
    lmf_status status;
} fixture;

static bool should_stop(void *p) { return atomic_load(&((fixture *)p)->stop); }
static void ready(void *p, const char *url) { atomic_store(&((fixture *)p)->port, atoi(strrchr(url, ':') + 1)); }

static void *serve(void *p)
{
    fixture *f = p;
    lmf_serve_opts o = lmf_serve_opts_default();
    o.port = 0, o.model_name = "tiny", o.should_stop = should_stop, o.ready = ready, o.user = f;
    o.head_seconds = o.body_seconds = o.idle_seconds = o.write_seconds = 1;
    f->status = lmf_serve(f->m, f->e, &o);
    return NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int open_to(fixture *f, int buffer)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atomic_load(&f->port)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (buffer)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* Until it is closed by the other side, at most `seconds`; *text: the beginning of what came. */
static double closed_after(int fd, double begin, double seconds, char *text, size_t n)
{
    char part[4096];
    size_t have = 0;
    struct pollfd p = { fd, POLLIN, 0 };
    while (now() - begin < seconds) {
        if (poll(&p, 1, 50) <= 0)
            continue;
        ssize_t k = recv(fd, part, sizeof part, 0);
        if (k <= 0)
            break;
        for (ssize_t i = 0; i < k && have + 1 < n; i++)
            text[have++] = part[i];
    }
    text[have] = 0;
    return now() - begin;
}

static void say(int fd, const char *text) { assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text)); }

static void slow_clients(void **state)
{
    (void)state;
    enum { NOTHING, HEAD, BODY, IDLE, N };
    static const char *const begins[N] = { "", "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" };
    static const char *const says[N] = { "", "HTTP/1.1 408 ", "HTTP/1.1 408 ", "HTTP/1.1 200 " };
    fixture f = { .ctx = lmf_test_ctx() };
    lmf_engine_opts o = lmf_engine_opts_default();
    lmf_serve_engine_opts(&o);
    o.max_seqs = 2, o.prefill_chunk = 32;
    f.m = tiny_open(f.ctx, "tiny.gguf", NULL);
    assert_ok(f.ctx, lmf_engine_create(f.ctx, f.m, &o, &f.e));
    assert_int_equal(pthread_create(&f.thread, NULL, serve, &f), 0);
    while (!atomic_load(&f.port))
        usleep(1000);
    int fd[N], deaf = open_to(&f, 2048);
    double begin = now();
    char text[512];
    for (int i = 0; i < N; i++) {
        fd[i] = open_to(&f, 0);
        if (*begins[i])
            say(fd[i], begins[i]);
    }
    /* more answers than the sockets between take, and nobody who reads them */
    for (int i = 0; i < 20000; i++) {
        static const char ask[] = "GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        if (send(deaf, ask, sizeof ask - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
    }
    for (int i = 0; i < 10; i++) { /* a byte now and then does not put the end off */
        usleep(50000);
        send(fd[HEAD], "X", 1, MSG_NOSIGNAL);
        send(fd[BODY], " ", 1, MSG_NOSIGNAL);
        int good = open_to(&f, 0);
        say(good, "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        assert_true(closed_after(good, now(), 5, text, sizeof text) < 4);
        assert_memory_equal(text, "HTTP/1.1 200 ", 13);
        close(good);
    }
    for (int i = 0; i < N; i++) { /* those that are told why are let read it for two seconds more */
        double t = closed_after(fd[i], begin, 20, text, sizeof text);
        assert_true(t > 0.5 && t < 15);
        assert_memory_equal(text, says[i], strlen(says[i]));
        close(fd[i]);
    }
    struct pollfd p = { deaf, 0, 0 };
    while (!(p.revents & (POLLHUP | POLLERR)) && now() - begin < 20)
        poll(&p, 1, 50);
    assert_true(p.revents & (POLLHUP | POLLERR));
    close(deaf);
    atomic_store(&f.stop, true);
    pthread_join(f.thread, NULL);
    assert_ok(f.ctx, f.status);
    lmf_engine_destroy(f.e);
    lmf_model_close(f.m);
    lmf_test_ctx_done(f.ctx);
}

LMF_TESTS(serve) = { { "slow clients are closed at their time", slow_clients }, { 0 } };
