/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/server.h"
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/file.h"
#include "calls/describe.h"
#include "config/guard_policy.h"
#include "serve/generation.h"
#include "serve/mcp_stdio.h"

enum { FLUSH_MS = 5000, BACKLOG = 1024, TICK_MS = 100, SAMPLES = 32 };

lmf_serve_opts lmf_serve_opts_default(void)
{
    return (lmf_serve_opts){ .struct_bytes = sizeof(lmf_serve_opts), .host = "127.0.0.1", .port = 8000, .max_connections = 1024,
        .max_per_peer = 64,
        .drain_seconds = 30,
                             .head_seconds = 10, .body_seconds = 30, .idle_seconds = 60, .write_seconds = 30 };
}

void lmf_serve_engine_opts(lmf_engine_opts *o)
{
    o->mask = lmf__rule_mask, o->force = lmf__rule_force;
    o->max_samples = SAMPLES; /* echo with logprobs */
    o->elastic = true;
    o->embed = true;
}

int64_t lmf__now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t lmf__now_ms(void) { return lmf__now_us() / 1000; }

int64_t lmf__now_unix(void) { return (int64_t)time(NULL); }

int64_t lmf__local_seconds(void)
{
    time_t now = time(NULL);
    struct tm local;
    return localtime_r(&now, &local) ? (int64_t)now + local.tm_gmtoff : (int64_t)now;
}

uint64_t lmf__server_random(lmf_server *s)
{
    uint64_t v;
    return getrandom(&v, sizeof v, GRND_NONBLOCK) == sizeof v ? v : s->salt ^ (++s->n_ids * UINT64_C(0x9E3779B97F4A7C15));
}

void lmf__server_id(lmf_server *s, const char *prefix, char *text, size_t n)
{
    snprintf(text, n, "%s%016llx%08llx", prefix, (unsigned long long)s->salt, (unsigned long long)++s->n_ids);
}

/* ---- faults ---- */

bool lmf__refuse(lmf_fault *f, int status, const char *param, const char *code, const char *fmt, ...)
{
    va_list ap;
    *f = (lmf_fault){ .status = status, .code = code };
    snprintf(f->param, sizeof f->param, "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(f->message, sizeof f->message, fmt, ap);
    va_end(ap);
    return false;
}

bool lmf__refuse_status(lmf_fault *f, lmf_ctx *ctx, lmf_status s, const char *param)
{
    char text[sizeof lmf_error_here(ctx)->text];
    pthread_mutex_lock(&ctx->lock); /* the stepping thread fails on the same record */
    snprintf(text, sizeof text, "%s", lmf_error_here(ctx)->text);
    pthread_mutex_unlock(&ctx->lock);
    int status = s == LMF_E_MEMORY || s == LMF_E_BUSY ? 503 : s == LMF_E_INTERNAL || s == LMF_E_IO || s == LMF_E_DEVICE ? 500 : 400;
    return lmf__refuse(f, status, param, NULL, "%s", text);
}

/* ---- routes ---- */

static bool is_path(const lmf_endpoint *e, const char *path, size_t n)
{
    size_t k = strlen(e->path);
    return e->takes_rest ? n > k && memcmp(path, e->path, k) == 0 : n == k && memcmp(path, e->path, k) == 0;
}

static bool find(lmf_exchange *x, const lmf_endpoint **out, lmf_fault *f)
{
    const char *path = lmf_http_target(x->http), *method = lmf_http_method(x->http);
    size_t n = strcspn(path, "?#");
    const lmf_endpoint *other = NULL;
    for (const lmf_endpoint *const *e = lmf__endpoints(); *e; e++) {
        if (!is_path(*e, path, n))
            continue;
        x->endpoint = *e;
        if (strcmp((*e)->method, method) == 0) {
            x->path_rest = path + strlen((*e)->path);
            *out = *e;
            return true;
        }
        other = *e;
    }
    if (other)
        return lmf__refuse(f, 405, NULL, NULL, "%s takes %s, not %s", other->path, other->method, method);
    return lmf__refuse(f, 404, NULL, NULL, "there is nothing at this path");
}

static bool find_tenant(lmf_exchange *x, lmf_fault *f)
{
    lmf_tenants *all = &x->server->tenants;
    const char *key = all->has_keys ? lmf_guard_find_key(x->http, f) : NULL;
    if (all->has_keys && !key)
        return false;
    x->tenant = key ? lmf__tenants_find(all, key) : &all->of[0];
    return x->tenant || lmf__refuse(f, 401, NULL, "invalid_api_key", "the key is wrong");
}

void lmf__dispatch(lmf_exchange *x)
{
    lmf_server *s = x->server;
    lmf_fault f;
    const lmf_endpoint *e = NULL;
    bool good = lmf_guard_check_origin(&s->guard, x->http, &f) && find(x, &e, &f);
    if (!(good && e->open)) {
        lmf_fault key;
        if ((good || f.status != 403) && !find_tenant(x, &key)) /* what there is is nobody's business */
            good = false, f = key;
    }
    if (good && strcmp(e->method, "POST") == 0)
        good = lmf_guard_check_type(x->http, &f);
    if (good && s->draining && !e->open)
        good = lmf__refuse(&f, 503, NULL, NULL, "the server is going down");
    if (good)
        e->run(x);
    else
        lmf__reply_fault(x, &f);
}

/* ---- the outbox ---- */

static void put_event(void *user, const lmf_job_event *ev)
{
    lmf_outbox *o = &((lmf_server *)user)->outbox;
    pthread_mutex_lock(&o->lock);
    while (o->n == LMF_OUTBOX_EVENTS && !o->closed) {
        (void)!write(o->fd, &(uint64_t){ 1 }, sizeof(uint64_t));
        pthread_cond_wait(&o->room, &o->lock);
    }
    if (!o->closed)
        o->event[(o->begin + o->n++) % LMF_OUTBOX_EVENTS] = *ev;
    pthread_mutex_unlock(&o->lock);
}

static void end_step(void *user)
{
    lmf_outbox *o = &((lmf_server *)user)->outbox;
    pthread_mutex_lock(&o->lock);
    bool any = o->n > 0;
    pthread_mutex_unlock(&o->lock);
    if (any)
        (void)!write(o->fd, &(uint64_t){ 1 }, sizeof(uint64_t)); /* a counter: it can't be full */
}

static bool take_event(lmf_outbox *o, lmf_job_event *ev)
{
    pthread_mutex_lock(&o->lock);
    bool any = o->n > 0;
    if (any) {
        *ev = o->event[o->begin];
        o->begin = (o->begin + 1) % LMF_OUTBOX_EVENTS;
        o->n--;
        pthread_cond_signal(&o->room);
    }
    pthread_mutex_unlock(&o->lock);
    return any;
}

static void on_news(evutil_socket_t fd, short what, void *p)
{
    lmf_server *s = p;
    lmf_job_event ev;
    uint64_t n;
    (void)what, (void)!read((int)fd, &n, sizeof n);
    while (take_event(&s->outbox, &ev))
        lmf__generation_take(ev.user, &ev);
    lmf__served_take(s);
}

static lmf_status open_outbox(lmf_server *s)
{
    lmf_outbox *o = &s->outbox;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->room, NULL);
    o->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    o->event = lmf_alloc(s->ctx, LMF_OUTBOX_EVENTS * sizeof *o->event);
    if (o->fd < 0 || !o->event)
        return LMF_FAIL(s->ctx, LMF_E_MEMORY, "the server's queue of events could not be made");
    return LMF_OK;
}

static void close_outbox(lmf_server *s)
{
    lmf_outbox *o = &s->outbox;
    lmf_free(s->ctx, o->event, LMF_OUTBOX_EVENTS * sizeof *o->event);
    if (o->fd >= 0)
        close(o->fd);
    pthread_cond_destroy(&o->room);
    pthread_mutex_destroy(&o->lock);
}

/* ---- listening ---- */

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int n, void *p)
{
    (void)l, (void)n;
    evutil_make_socket_nonblocking(fd);
    evutil_make_socket_closeonexec(fd);
    lmf__connection_open(p, fd, from);
}

static void on_accept_error(struct evconnlistener *l, void *p)
{
    (void)p;
    evconnlistener_disable(l); /* no descriptors are left: the next tick tries again */
}

static lmf_status bind_address(lmf_server *s)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list;
    char port[16];
    snprintf(port, sizeof port, "%d", s->o.port);
    int rc = getaddrinfo(s->o.host, port, &hints, &list);
    if (rc)
        return LMF_FAIL(s->ctx, LMF_E_ARG, "the address %s is not known: %s", s->o.host, gai_strerror(rc));
    s->listener = evconnlistener_new_bind(s->base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, BACKLOG,
                                          list->ai_addr, (int)list->ai_addrlen);
    int error = errno;
    freeaddrinfo(list);
    if (!s->listener)
        return LMF_FAIL(s->ctx, LMF_E_IO, "%s port %d can't be bound: %s", s->o.host, s->o.port, strerror(error));
    evconnlistener_set_error_cb(s->listener, on_accept_error);
    return LMF_OK;
}

static void tell_ready(lmf_server *s)
{
    char url[512], host[320];
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    int port = s->o.port;
    if (!s->o.ready || !s->listener)
        return;
    if (getsockname(evconnlistener_get_fd(s->listener), (struct sockaddr *)&a, &n) == 0)
        port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
    snprintf(host, sizeof host, strchr(s->o.host, ':') ? "[%s]" : "%s", s->o.host);
    snprintf(url, sizeof url, "http://%s:%d", host, port);
    s->o.ready(s->o.user, url);
}

/* ---- the end ---- */

static void drain(lmf_server *s)
{
    s->draining = true;
    s->drain_until_ms = lmf__now_ms() + (int64_t)s->o.drain_seconds * 1000;
    for (lmf_connection *c = s->connections, *next; c; c = next) {
        next = c->next;
        if (c->phase == LMF_PHASE_IDLE)
            lmf__connection_close(c);
    }
}

static bool is_drained(const lmf_server *s)
{
    if (s->n_generations)
        return false;
    for (const lmf_connection *c = s->connections; c; c = c->next) /* answers that are still on their way out */
        if (c->phase == LMF_PHASE_FLUSH || c->phase == LMF_PHASE_ANSWER)
            return false;
    return true;
}

static void on_tick(evutil_socket_t fd, short what, void *p)
{
    (void)fd, (void)what;
    lmf_server *s = p;
    if (s->listener)
        evconnlistener_enable(s->listener);
    bool over = s->stdio && lmf__mcp_stdio_is_over(s->stdio);
    if (!s->draining && (over || (s->o.should_stop && s->o.should_stop(s->o.user))))
        drain(s);
    if (s->draining && (is_drained(s) || lmf__now_ms() > s->drain_until_ms))
        event_base_loopbreak(s->base);
}

/* ---- lmf_serve ---- */

static lmf_status start(lmf_server *s)
{
    struct event_config *config = event_config_new();
    if (config && s->o.stdio)
        event_config_require_features(config, EV_FEATURE_FDS); /* standard input may be a file */
    s->base = config ? event_base_new_with_config(config) : NULL;
    if (config)
        event_config_free(config);
    if (!s->base)
        return LMF_FAIL(s->ctx, LMF_E_MEMORY, "there is no event loop");
    s->news = event_new(s->base, s->outbox.fd, EV_READ | EV_PERSIST, on_news, s);
    s->tick = event_new(s->base, -1, EV_PERSIST, on_tick, s);
    if (!s->news || !s->tick || event_add(s->news, NULL) || event_add(s->tick, &(struct timeval){ .tv_usec = TICK_MS * 1000 }))
        return LMF_FAIL(s->ctx, LMF_E_MEMORY, "the events of the loop could not be made");
    LMF_TRY(s->o.stdio ? lmf__mcp_stdio_open(s, &s->stdio) : bind_address(s));
    lmf_scheduler_opts o = lmf_scheduler_opts_default();
    o.max_queue = s->o.max_queue, o.on_event = put_event, o.on_step = end_step, o.user = s;
    return lmf_scheduler_create(s->engine, &o, &s->scheduler);
}

static void stop(lmf_server *s)
{
    pthread_mutex_lock(&s->outbox.lock);
    s->outbox.closed = true; /* the stepping thread waits for nobody */
    pthread_cond_signal(&s->outbox.room);
    pthread_mutex_unlock(&s->outbox.lock);
    lmf__mcp_stdio_close(s->stdio); /* its calls are cancelled at the scheduler */
    lmf_scheduler_destroy(s->scheduler);
    while (s->connections) {
        s->connections->exchange.on_gone = NULL;
        lmf__connection_close(s->connections);
    }
    while (s->generations)
        lmf__generation_destroy(s->generations);
    if (s->listener)
        evconnlistener_free(s->listener);
    if (s->tick)
        event_free(s->tick);
    if (s->news)
        event_free(s->news);
    if (s->base)
        event_base_free(s->base);
    lmf__served_close(s);
    close_outbox(s);
}

static lmf_status open_screens(lmf_server *s)
{
    for (int32_t i = 0; i < s->tenants.n; i++) {
        lmf_tenant *t = &s->tenants.of[i];
        const char *path = t->guard ? json_string_value(t->guard) : s->o.guard;
        if (path)
            LMF_TRY(lmf__screen_open(&s->screens, s->ctx, path, &t->screen));
    }
    return LMF_OK;
}

lmf_status lmf_serve_check(lmf_ctx *ctx, const lmf_serve_opts *o)
{
    if (!o->host || !o->model_name || o->port < 0 || o->port > 65535 || o->max_connections < 1 || o->max_per_peer < 1 || o->max_queue < 0)
        return LMF_FAIL(ctx, LMF_E_ARG, "an option of the server is missing or out of range");
    if (o->adapter_folder && lmf_path_stat(o->adapter_folder) != LMF_PATH_DIR)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s, from which adapters are to be loaded, is no folder", o->adapter_folder);
    if (!o->api_key && !o->api_keys && !lmf_guard_is_loopback(o->host))
        return LMF_FAIL(ctx, LMF_E_ARG,
            "%s can be reached from other machines, where anybody could use the model: give a key that clients must send", o->host);
    lmf_guard_policy p;
    return o->guard ? lmf_guard_policy_load(ctx, o->guard, &p) : LMF_OK;
}

lmf_status lmf_serve(const lmf_model *model, lmf_engine *engine, const lmf_serve_opts *opts)
{
    lmf_ctx *ctx = model->ctx;
    lmf_serve_opts o = lmf_serve_opts_default();
    LMF_TRY(lmf_opts_take(ctx, "lmf_serve_opts", &o, opts, sizeof o));
    LMF_TRY(lmf_serve_check(ctx, &o));
    lmf_server *s = lmf_new(ctx, lmf_server);
    if (!s)
        return LMF_NO_MEMORY(ctx, sizeof *s, "a server");
    s->ctx = ctx, s->model = model, s->engine = engine, s->o = o, s->chat = model->chat, s->started_unix = (int64_t)time(NULL);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    s->unix_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec - lmf__now_us() * 1000;
    lmf_engine_get_info(engine, &s->engine_info);
    lmf__constraints_init(&s->constraints, ctx, &s->chat, &s->tool_form);
    s->salt = lmf__server_random(s);
    lmf_status status = open_outbox(s);
    if (!status)
        status = lmf__tenants_open(&s->tenants, ctx, o.api_key, o.api_keys);
    if (!status)
        status = open_screens(s);
    if (!status && o.trace && o.trace->url[0])
        status = lmf_tracer_open(ctx, o.trace, &s->tracer);
    if (!status)
        status = lmf__served_open(s);
    if (!status)
        status = lmf_store_open(ctx, o.responses, &s->store);
    if (!status)
        status = lmf_guard_init(&s->guard, ctx, o.host, s->tenants.has_keys);
    if (!status)
        status = lmf_chat_find_forms(&s->chat, &s->forms);
    if (!status)
        status = lmf__tools_find(&s->chat, &s->forms, &s->tool_form, &s->own_tools);
    if (!status)
        status = start(s);
    if (!status) {
        tell_ready(s);
        if (event_base_dispatch(s->base) < 0)
            status = LMF_FAIL(ctx, LMF_E_IO, "the event loop failed: %s", strerror(errno));
    }
    stop(s);
    lmf__constraints_clear(&s->constraints);
    lmf__tenants_close(&s->tenants);
    lmf__screens_close(&s->screens);
    lmf_tracer_close(s->tracer, o.trace && o.trace->timeout_ms < FLUSH_MS ? o.trace->timeout_ms : FLUSH_MS);
    lmf_store_close(s->store);
    lmf_delete(ctx, s);
    return status;
}
