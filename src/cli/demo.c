/* demo: a timer sends, another asks for the sums, and the end waits until these agree. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/demo_sidecar.h"
#include "cli/demo_traffic.h"
#include "cli/verbs.h"
#include "net/url.h"
#include "otlp/json_object.h"
#include "util/clock.h"

#define TICK_MS 100          /* between requests */
#define ASK_MS 2000          /* between lines of progress */
#define SEND_TIMEOUT_MS 5000 /* of a request */
#define SETTLE_MS 5000       /* at the end, until nothing is queued: batch.max_age is a second */
#define SETTLE_EACH_MS 100
#define RATE_MAX 100000
#define ANSWER_BYTES ((size_t)1 << 20)
#define LOGS_PATH "/v1/logs"

/* What the admin pages say. */
struct sums {
    uint64_t received, kept, sampled_out, dropped_by_rule, rejected, joined, released;
    uint64_t delivered, queued, lost;
    uint64_t received_bytes, kept_bytes;
    uint64_t observing, would_keep, would_keep_bytes;
    char money[160], would_money[160];
};

struct verb {
    struct config cfg;
    struct admin admin;
    struct demo_sidecar own;
    struct demo_traffic traffic;
    struct json_object *json;
    struct client_call *sending, *asking; /* NULL: none is under way */
    uv_timer_t tick, ask;
    uv_signal_t interrupts[2];
    struct buf request;
    char url[CONFIG_TEXT_BYTES + sizeof LOGS_PATH];
    uint64_t rate, seconds; /* seconds 0: no end */
    uint64_t begin_ms, end_ms;
    uint64_t due, in_request, sent;
    struct sums top, ledger;
    bool is_ending, has_sums;
    int code;
};

/* ---- the sums ---------------------------------------------------------- */

static bool on_member(void *arg, const struct json_member *m)
{
    struct sums *s = arg;
    const struct {
        const char *name;
        uint64_t *number;
    } members[] = {
        {"observing", &s->observing},
        {"would_keep", &s->would_keep},
        {"would_keep_bytes", &s->would_keep_bytes},
        {"received", &s->received},
        {"kept", &s->kept},
        {"sampled_out", &s->sampled_out},
        {"dropped_by_rule", &s->dropped_by_rule},
        {"rejected", &s->rejected},
        {"joined", &s->joined},
        {"released", &s->released},
        {"delivered", &s->delivered},
        {"queued", &s->queued},
        {"received_bytes", &s->received_bytes},
        {"kept_bytes", &s->kept_bytes},
    };
    if (span_eq(m->outer, SPAN("lost")))
        s->lost += m->number;
    if (m->outer.len > 0)
        return true;
    if (span_eq(m->key, SPAN("money")))
        snprintf(s->money, sizeof s->money, "%.*s", (int)m->text.len, (const char *)m->text.base);
    if (span_eq(m->key, SPAN("would_money")))
        snprintf(s->would_money, sizeof s->would_money, "%.*s", (int)m->text.len,
                 (const char *)m->text.base);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (span_eq(m->key, span_str(members[i].name)))
            *members[i].number = m->number;
    return true;
}

/* The first line is all that counts. */
static bool read_sums(struct verb *v, const struct client_result *r, struct sums *out)
{
    const uint8_t *end = r->err != 0 ? NULL : memchr(r->body.base, '\n', r->body.len);
    *out = (struct sums){0};
    return end != NULL && r->status == 200 &&
           json_object_visit_nested(v->json, span_of(r->body.base, (size_t)(end - r->body.base)),
                                    on_member, out) == 0;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100 * (double)part / (double)whole;
}

static double saved_percent(const struct sums *s)
{
    return s->received_bytes == 0 ? 0
                                  : 100 - 100 * (double)s->kept_bytes / (double)s->received_bytes;
}

/* ---- asking ------------------------------------------------------------ */

static void send_question(struct verb *v, const char *target,
                          void (*done)(void *ctx, const struct client_result *r))
{
    const struct client_request how = {.ctx = v, .done = done};
    struct buf text = {0};
    buf_append_str(&text, target);
    if (admin_send(&v->admin, &text, ANSWER_BYTES, &how, &v->asking) < 0) {
        v->code = EXIT_BUG;
        uv_stop(&v->admin.loop);
    }
    buf_done(&text);
}

static void say_progress(const struct verb *v)
{
    printf("%5" PRIu64 " s  %" PRIu64 " records sent",
           (uv_now(&v->admin.loop) - v->begin_ms) / 1000, v->sent);
    if (v->has_sums)
        printf("; received %" PRIu64 ", kept %" PRIu64 ", %.1f%% of bytes saved", v->top.received,
               v->top.kept, saved_percent(&v->top));
    putchar('\n');
    fflush(stdout);
}

/* The end: both pages, and they agree, and nothing is under way; or the time for it is over. */
static void on_ledger(void *ctx, const struct client_result *r)
{
    struct verb *v = ctx;
    v->asking = NULL;
    v->has_sums = read_sums(v, r, &v->ledger);
    bool is_settled = v->has_sums && v->sending == NULL && v->ledger.queued == 0 &&
                      v->ledger.received == v->top.received;
    if (!v->has_sums)
        v->code = admin_explain_failure(&v->admin, r);
    if (!v->has_sums || is_settled || uv_now(&v->admin.loop) >= v->end_ms + SETTLE_MS)
        uv_stop(&v->admin.loop);
}

static void on_top(void *ctx, const struct client_result *r)
{
    struct verb *v = ctx;
    v->asking = NULL;
    v->has_sums = read_sums(v, r, &v->top);
    if (v->is_ending && v->has_sums) {
        send_question(v, "/api/ledger", on_ledger);
    } else if (v->is_ending) {
        v->code = admin_explain_failure(&v->admin, r);
        uv_stop(&v->admin.loop);
    } else {
        say_progress(v);
    }
}

static void on_ask(uv_timer_t *timer)
{
    struct verb *v = container_of(timer, struct verb, ask);
    if (v->asking == NULL)
        send_question(v, "/api/top?limit=1", on_top);
}

/* ---- sending ----------------------------------------------------------- */

static void begin_end(struct verb *v)
{
    if (v->is_ending)
        return;
    v->is_ending = true;
    v->end_ms = uv_now(&v->admin.loop);
    uv_timer_stop(&v->tick);
    uv_timer_start(&v->ask, on_ask, 0, SETTLE_EACH_MS);
}

static void on_sent(void *ctx, const struct client_result *r)
{
    struct verb *v = ctx;
    v->sending = NULL;
    if (r->err == 0 && r->status / 100 == 2) {
        v->sent += v->in_request;
        return;
    }
    if (v->is_ending)
        return;
    if (r->err != 0)
        fprintf(stderr, "lipservice: nothing takes records at %s: %s\n", v->url, r->text);
    else
        fprintf(stderr, "lipservice: %s answers %d: %.*s\n", v->url, r->status,
                (int)(r->body.len < 200 ? r->body.len : 200), (const char *)r->body.base);
    if (r->err == 0 && (r->status == 429 || r->status == 503))
        return; /* it has too much now; these are not sent again */
    v->code = EXIT_UNAVAILABLE;
    begin_end(v);
}

static void on_tick(uv_timer_t *timer)
{
    static const char *const headers[] = {"Content-Type: application/x-protobuf", NULL};
    struct verb *v = container_of(timer, struct verb, tick);
    uint64_t past_ms = uv_now(timer->loop) - v->begin_ms;
    if (v->seconds > 0 && past_ms >= v->seconds * 1000) {
        begin_end(v);
        return;
    }
    uint64_t due = past_ms * v->rate / 1000;
    if (v->sending != NULL || due <= v->due)
        return;
    uint64_t n = due - v->due;
    v->due = due;
    if (n > v->rate)
        n = v->rate; /* what is a second late or more is left out */
    int made =
        demo_traffic_make(&v->traffic, &v->request, (uint32_t)n, clock_unix_ns(clock_real()));
    const struct client_request how = {.method = "POST",
                                       .url = v->url,
                                       .headers = headers,
                                       .body = buf_span(&v->request),
                                       .timeout_ms = SEND_TIMEOUT_MS,
                                       .ctx = v,
                                       .done = on_sent};
    v->in_request = made > 0 ? (uint64_t)made : 0;
    if (made < 0 || client_send(v->admin.client, &how, &v->sending) < 0) {
        v->code = EXIT_BUG;
        begin_end(v);
    }
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    struct verb *v = handle->data;
    (void)number;
    if (v->is_ending)
        uv_stop(handle->loop);
    begin_end(v);
}

/* ---- what is said ------------------------------------------------------ */

static void say_hints(const struct verb *v)
{
    char with[CONFIG_TEXT_BYTES + 16] = "";
    if (strcmp(v->admin.base, "http://localhost:55679") != 0)
        snprintf(with, sizeof with, " --admin %s", v->admin.base);
    printf("%" PRIu64 " records a second go to %s; Ctrl-C ends it. Try in another terminal:\n\n"
           "  lipservice top%s\n"
           "  lipservice tap --dropped%s\n"
           "  lipservice shadow%s\n"
           "  lipservice explain --live --service auth --severity info%s 'user 7 logged in from "
           "203.0.113.9'\n\n",
           v->rate, v->url, with, with, with, with);
    fflush(stdout);
}

static void say_end(const struct verb *v)
{
    const struct sums *l = &v->ledger, *t = &v->top;
    uint64_t out = l->kept + l->released;
    bool is_whole =
        l->received == l->kept + l->sampled_out + l->dropped_by_rule + l->rejected + l->joined &&
        out == l->delivered + l->queued + l->lost;
    printf("\nOf %" PRIu64 " records %" PRIu64 " were sent on (%.1f%%), and %" PRIu64 " of %" PRIu64
           " metered bytes: %.1f%% saved. At this rate it %s.\n\n",
           l->received, out, percent(out, l->received), t->kept_bytes, t->received_bytes,
           saved_percent(t), t->money);
    if (t->observing != 0)
        printf("It only observes. Enforcing would keep %" PRIu64 " records and send %" PRIu64
               " bytes: it %s.\n\n",
               t->would_keep, t->would_keep_bytes, t->would_money);
    printf("ledger  received %" PRIu64 " = kept %" PRIu64 " + sampled_out %" PRIu64
           " + dropped_by_rule %" PRIu64 " + rejected %" PRIu64 " + joined %" PRIu64 "\n"
           "        kept %" PRIu64 " + released %" PRIu64 " = delivered %" PRIu64
           " + queued %" PRIu64 " + lost %" PRIu64 "\n%s",
           l->received, l->kept, l->sampled_out, l->dropped_by_rule, l->rejected, l->joined,
           l->kept, l->released, l->delivered, l->queued, l->lost,
           is_whole ? "" : "the ledger does not balance: this is a bug\n");
    fflush(stdout);
}

/* ---- the verb ---------------------------------------------------------- */

static void watch(struct verb *v)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(&v->admin.loop, &v->interrupts[i]);
        v->interrupts[i].data = v;
        uv_signal_start(&v->interrupts[i], on_interrupt, numbers[i]);
    }
    uv_timer_init(&v->admin.loop, &v->tick);
    uv_timer_init(&v->admin.loop, &v->ask);
    uv_update_time(&v->admin.loop);
    v->begin_ms = uv_now(&v->admin.loop);
    uv_timer_start(&v->tick, on_tick, TICK_MS, TICK_MS);
    uv_timer_start(&v->ask, on_ask, ASK_MS, ASK_MS);
}

static int send_and_watch(struct verb *v, const char *admin, const char *endpoint)
{
    int code = admin_open(&v->admin, &v->cfg, admin);
    if (code != 0)
        return code;
    if (endpoint != NULL) {
        struct span base = url_base(endpoint);
        bool is_whole =
            base.len >= sizeof LOGS_PATH && memcmp(base.base + base.len - (sizeof LOGS_PATH - 1),
                                                   LOGS_PATH, sizeof LOGS_PATH - 1) == 0;
        snprintf(v->url, sizeof v->url, "%.*s%s", (int)base.len, (const char *)base.base,
                 is_whole ? "" : LOGS_PATH);
    } else {
        admin_reach(v->url, v->cfg.receiver.http_endpoint, LOGS_PATH);
    }
    say_hints(v);
    watch(v);
    uv_run(&v->admin.loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&v->tick, NULL);
    uv_close((uv_handle_t *)&v->ask, NULL);
    for (size_t i = 0; i < ARRAY_LEN(v->interrupts); i++)
        uv_close((uv_handle_t *)&v->interrupts[i], NULL);
    if (v->has_sums && v->ledger.received > 0)
        say_end(v);
    else
        printf("\n%" PRIu64 " records were sent; what became of them is not known\n", v->sent);
    return v->code;
}

/* A whole number of 1 to `most`. False: it is none. */
static bool parse_number(const char *text, uint64_t most, uint64_t *out)
{
    char *rest;
    if (text == NULL)
        return true;
    *out = strtoull(text, &rest, 10);
    return text[0] >= '0' && text[0] <= '9' && *rest == '\0' && *out >= 1 && *out <= most;
}

int verb_demo(int argc, char **argv)
{
    static struct verb v;
    static struct command_options o;
    const char *endpoint = NULL, *seconds = NULL, *rate = NULL, *seed = NULL, *admin = NULL;
    const struct command_flag flags[] = {
        {.name = "endpoint", .value = &endpoint}, {.name = "seconds", .value = &seconds},
        {.name = "rate", .value = &rate},         {.name = "seed", .value = &seed},
        {.name = "admin", .value = &admin},
    };
    uint64_t first = 1;
    bool is_child = false;
    v = (struct verb){.rate = 300};
    int code = command_parse(argc, argv, flags, ARRAY_LEN(flags), &o, NULL);
    if (code != 0)
        return code;
    if (!parse_number(seconds, 1000000, &v.seconds))
        return command_usage_error("--seconds: 1 to 1000000, not ", seconds);
    if (!parse_number(rate, RATE_MAX, &v.rate))
        return command_usage_error("--rate: 1 to 100000 records a second, not ", rate);
    if (!parse_number(seed, UINT64_MAX, &first))
        return command_usage_error("--seed: a number from 1 on, not ", seed);
    code = command_load_options(&o, &v.cfg);
    if (code != 0)
        return code;
    if (endpoint == NULL)
        code = demo_sidecar_start(&v.own, &o, &v.cfg, &is_child);
    if (code == 0 && !is_child && json_object_new(&v.json, ANSWER_BYTES) < 0)
        code = EXIT_BUG;
    if (code == 0 && !is_child) {
        demo_traffic_init(&v.traffic, first, (uint32_t)v.rate);
        code = send_and_watch(&v, admin, endpoint);
    }
    admin_close(&v.admin);
    if (!is_child) {
        int its = demo_sidecar_stop(&v.own);
        code = code != 0 ? code : its;
    }
    json_object_free(v.json);
    demo_traffic_done(&v.traffic);
    buf_done(&v.request);
    config_done(&v.cfg);
    return code;
}
