/* demo_traffic: one table of services, one of messages, one of stories, one of what is filled in.
 */
#include "cli/demo_traffic.h"

#include <inttypes.h>

#include "otlp/fields.h"
#include "otlp/wire.h"
#include "util/err.h"

enum service { GATEWAY, CHECKOUT, AUTH, PAYMENTS, WORKER, UNNAMED };

static const char *const service_names[DEMO_SERVICES] = {
    [GATEWAY] = "gateway",   [CHECKOUT] = "checkout", [AUTH] = "auth",
    [PAYMENTS] = "payments", [WORKER] = "worker",     [UNNAMED] = NULL,
};

enum { DEBUG = 5, INFO = 9, WARN = 13, ERROR = 17 }; /* OTLP's severity numbers */

struct message {
    enum service service;
    int severity;
    uint32_t weight;        /* its share among those of its time */
    uint32_t from_s, for_s; /* of each minute; for_s 0: always */
    const char *body;       /* {what} is filled in */
};

#define ALWAYS 0, 0
#define MINUTE_S 60

static const struct message messages[] = {
    {GATEWAY, INFO, 300, ALWAYS,
     "{\"level\":\"info\",\"method\":\"GET\",\"path\":\"/api/items/{n}\",\"status\":200,"
     "\"duration_ms\":{ms},\"client\":\"{ip}\",\"request_id\":\"{id}\"}"},
    {GATEWAY, INFO, 40, ALWAYS,
     "{\"level\":\"info\",\"method\":\"POST\",\"path\":\"/api/orders\",\"status\":201,"
     "\"duration_ms\":{ms},\"client\":\"{ip}\",\"request_id\":\"{id}\"}"},
    {GATEWAY, DEBUG, 120, ALWAYS, "health check from {ip} answered in {ms} ms"},
    {GATEWAY, WARN, 8, ALWAYS, "slow upstream 10.0.{b}.{b}:8080 took {ms} ms for request {id}"},
    {GATEWAY, WARN, 900, 8, 7, "connection to 10.0.{b}.{b}:8080 reset by peer, attempt {b}"},
    {CHECKOUT, INFO, 90, ALWAYS, "order {n} placed by user {n} in {ms} ms"},
    {CHECKOUT, DEBUG, 180, ALWAYS, "cache hit for cart {id} after {ms} ms"},
    {CHECKOUT, DEBUG, 60, ALWAYS, "cache miss for cart {id}, loading {b} items"},
    {CHECKOUT, WARN, 6, ALWAYS, "stock of item {n} is below {b}"},
    {AUTH, INFO, 110, ALWAYS, "user {n} logged in from {ip}"},
    {AUTH, WARN, 12, ALWAYS, "failed login for user {n} from {ip}, attempt {b}"},
    {AUTH, INFO, 4, ALWAYS, "sent a password reset to user{n}@example.com"},
    {AUTH, WARN, 2, ALWAYS, "debug flag left on: api_key={id}{id} for user {n}"},
    {PAYMENTS, INFO, 50, ALWAYS, "payment {id} of {n} cents captured"},
    {PAYMENTS, DEBUG, 80, ALWAYS, "signature of webhook {id} checked in {ms} ms"},
    {PAYMENTS, INFO, 40, 5, 55, "provider {b} migrated to settlement version {b}, batch {id}"},
    {WORKER, DEBUG, 160, ALWAYS, "job {id} picked from queue mail, {n} waiting"},
    {WORKER, INFO, 70, ALWAYS, "job {id} finished in {ms} ms"},
    {UNNAMED, INFO, 30, ALWAYS, "cron: rotated {b} files, {n} bytes freed"},
};

/* An error and what led to it, with one trace: first something noisy, which would be dropped. */
struct step {
    enum service service;
    int severity;
    const char *body;
    const char *exception, *stack; /* NULL: none */
};

#define STEPS_MAX 6

static const struct step stories[][STEPS_MAX] = {
    {
        {PAYMENTS, DEBUG, "signature of webhook {id} checked in {ms} ms"},
        {PAYMENTS, INFO, "authorizing {n} cents for order {n}"},
        {PAYMENTS, DEBUG, "provider answered 504 after {ms} ms, trying again"},
        {PAYMENTS, ERROR, "payment for order {n} failed: provider timed out after {ms} ms",
         "ProviderTimeout",
         "ProviderTimeout: no answer in 3000 ms\n"
         "    at capture (/app/payments/provider.js:88:11)\n"
         "    at async settle (/app/payments/settle.js:41:5)"},
    },
    {
        {CHECKOUT, DEBUG, "cache miss for cart {id}, loading {b} items"},
        {CHECKOUT, INFO, "applying coupon {b} to cart {id}"},
        {CHECKOUT, ERROR,
         "Traceback (most recent call last):\n"
         "  File \"/app/checkout/cart.py\", line 214, in total\n"
         "    price = self.prices[item.id]\n"
         "  File \"/app/checkout/prices.py\", line 57, in __getitem__\n"
         "    raise KeyError(item)\n"
         "KeyError: {n}"},
    },
    {
        {WORKER, DEBUG, "job {id} picked from queue mail, {n} waiting"},
        {WORKER, WARN, "lock on table users held for {ms} ms by process {n}"},
        {WORKER, ERROR, "job {id} gave up: deadlock on table users", "DeadlockDetected",
         "DeadlockDetected: process {n} waits for ShareLock\n"
         "    at Worker.run (/app/worker/run.rb:19)"},
    },
};

#define STORY_S 3 /* one in so many seconds */

/* ---- what is filled in ------------------------------------------------- */

static void add_number(struct buf *out, struct rng *r)
{
    buf_printf(out, "%" PRIu64, 1000 + rng_upto(r, 89999));
}

static void add_byte(struct buf *out, struct rng *r)
{
    buf_printf(out, "%" PRIu64, 1 + rng_upto(r, 253));
}

static void add_millis(struct buf *out, struct rng *r)
{
    uint64_t n = rng_upto(r, 30);
    buf_printf(out, "%" PRIu64, 2 + n * n);
}

static void add_id(struct buf *out, struct rng *r)
{
    buf_printf(out, "%016" PRIx64, rng_next(r));
}

static void add_ip(struct buf *out, struct rng *r)
{
    buf_printf(out, "203.0.113.%" PRIu64, 1 + rng_upto(r, 253)); /* RFC 5737: for examples */
}

static const struct {
    const char *name;
    void (*add)(struct buf *out, struct rng *r);
} fillings[] = {
    {"{n}", add_number}, {"{b}", add_byte}, {"{ms}", add_millis},
    {"{id}", add_id},    {"{ip}", add_ip},
};

/* How much of `from` is taken. */
static size_t fill_one(struct buf *out, struct rng *r, struct span from)
{
    for (size_t i = 0; i < ARRAY_LEN(fillings); i++) {
        if (span_starts(from, span_str(fillings[i].name))) {
            fillings[i].add(out, r);
            return strlen(fillings[i].name);
        }
    }
    buf_append_byte(out, from.base[0]);
    return 1;
}

static struct span fill(struct demo_traffic *t, const char *form)
{
    struct span rest = span_str(form);
    buf_clear(&t->text);
    while (rest.len > 0)
        rest = span_skip(rest, fill_one(&t->text, &t->rng, rest));
    return buf_span(&t->text);
}

/* ---- records ----------------------------------------------------------- */

static void add_attribute(struct buf *out, uint32_t field, const char *key, struct span value)
{
    struct wire_nested pair, any;
    wire_begin(out, field, 64, &pair);
    wire_append_len(out, KEY_VALUE_KEY, span_str(key));
    wire_begin(out, KEY_VALUE_VALUE, 64, &any);
    wire_append_len(out, ANY_VALUE_STRING, value);
    wire_end(out, &any);
    wire_end(out, &pair);
}

struct trace {
    uint64_t id[2], span;
};

static void add_record(struct demo_traffic *t, const struct step *s, const struct trace *trace,
                       uint64_t time_ns)
{
    struct buf *out = &t->records[s->service];
    struct wire_nested record, any;
    wire_begin(out, SCOPE_LOGS_LOG_RECORDS, 200, &record);
    wire_append_i64(out, LOG_RECORD_TIME_UNIX_NANO, time_ns);
    wire_append_varint(out, LOG_RECORD_SEVERITY_NUMBER, (uint64_t)s->severity);
    wire_begin(out, LOG_RECORD_BODY, 100, &any);
    wire_append_len(out, ANY_VALUE_STRING, fill(t, s->body));
    wire_end(out, &any);
    if (s->exception != NULL) {
        add_attribute(out, LOG_RECORD_ATTRIBUTES, "exception.type", span_str(s->exception));
        add_attribute(out, LOG_RECORD_ATTRIBUTES, "exception.stacktrace", fill(t, s->stack));
    }
    if (trace != NULL) {
        wire_append_len(out, LOG_RECORD_TRACE_ID, span_of(trace->id, sizeof trace->id));
        wire_append_len(out, LOG_RECORD_SPAN_ID, span_of(&trace->span, sizeof trace->span));
    }
    wire_end(out, &record);
    t->made++;
}

static bool is_its_time(const struct message *m, uint64_t second)
{
    return m->for_s == 0 || (second >= m->from_s && second < m->from_s + m->for_s);
}

static void add_message(struct demo_traffic *t, uint64_t time_ns)
{
    uint64_t second = t->made / t->per_second % MINUTE_S, total = 0;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++)
        total += is_its_time(&messages[i], second) ? messages[i].weight : 0;
    uint64_t at = rng_upto(&t->rng, total - 1);
    size_t i = 0;
    for (; !is_its_time(&messages[i], second) || at >= messages[i].weight; i++)
        at -= is_its_time(&messages[i], second) ? messages[i].weight : 0;
    const struct message *m = &messages[i];
    struct trace trace = {{rng_next(&t->rng), rng_next(&t->rng)}, rng_next(&t->rng)};
    const struct step alone = {.service = m->service, .severity = m->severity, .body = m->body};
    add_record(t, &alone, m->service == GATEWAY ? &trace : NULL, time_ns);
}

/* The next story, whole. */
static void add_story(struct demo_traffic *t, uint64_t time_ns)
{
    const struct step *s = stories[t->stories++ % ARRAY_LEN(stories)];
    struct trace trace = {{rng_next(&t->rng), rng_next(&t->rng)}, rng_next(&t->rng)};
    for (unsigned i = 0; i < STEPS_MAX && s[i].body != NULL; i++)
        add_record(t, &s[i], &trace, time_ns + i);
}

/* ---- requests ---------------------------------------------------------- */

static void add_service(struct buf *out, const char *name, struct span records)
{
    struct wire_nested resource_logs, resource;
    wire_begin(out, REQUEST_RESOURCE_LOGS, records.len + 64, &resource_logs);
    if (name != NULL) {
        wire_begin(out, RESOURCE_LOGS_RESOURCE, 64, &resource);
        add_attribute(out, RESOURCE_ATTRIBUTES, "service.name", span_str(name));
        wire_end(out, &resource);
    }
    wire_append_len(out, RESOURCE_LOGS_SCOPE_LOGS, records);
    wire_end(out, &resource_logs);
}

void demo_traffic_init(struct demo_traffic *t, uint64_t seed, uint32_t per_second)
{
    *t = (struct demo_traffic){.rng.state = seed, .per_second = per_second};
}

void demo_traffic_done(struct demo_traffic *t)
{
    for (size_t i = 0; i < DEMO_SERVICES; i++)
        buf_done(&t->records[i]);
    buf_done(&t->text);
}

int demo_traffic_make(struct demo_traffic *t, struct buf *out, uint32_t records, uint64_t now_ns)
{
    uint64_t begin = t->made, apart_ns = 1000000000 / t->per_second;
    int rc = t->text.err;
    buf_clear(out);
    while (t->made - begin < records) {
        uint64_t left = records - (t->made - begin);
        uint64_t time_ns = now_ns - (left - 1) * apart_ns;
        if (t->made / t->per_second / STORY_S >= t->stories + 1)
            add_story(t, time_ns);
        else
            add_message(t, time_ns);
    }
    for (size_t i = 0; i < DEMO_SERVICES; i++) {
        rc = rc != 0 ? rc : t->records[i].err;
        if (t->records[i].len > 0)
            add_service(out, service_names[i], buf_span(&t->records[i]));
        buf_clear(&t->records[i]);
    }
    return rc != 0 || t->text.err != 0 || out->err != 0 ? ERR_NOMEM : (int)(t->made - begin);
}
