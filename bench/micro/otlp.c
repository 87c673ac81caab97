/*
 * otlp: nanoseconds a record for each step between a body and a batch.
 *
 *   build/bench/micro_otlp [rounds]
 *
 * The body holds 1000 records of about 480 bytes with ten attributes, the mix
 * of bench/ as a whole. The best round counts: the machine is shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "export/batch.h"
#include "otlp/json.h"
#include "otlp/logs.h"

#define RECORDS 1000
#define STAMP_BYTES 40

static const char *const verbs[] = {"charged", "refunded", "reserved", "shipped", "cancelled"};
static const char *const routes[] = {"/api/orders", "/api/payments/{id}", "/api/stock", "/health"};

struct sample {
    char body[256], order[32], user[32], trace[33], span[17];
    int status, ms;
    uint64_t time_ns;
};

static struct sample make_sample(unsigned i)
{
    struct sample s = {.status = i % 7 == 0 ? 404 : 200, .ms = (int)(i * 37 % 900)};
    s.time_ns = 1732183891000000000u + i * 1234567u;
    snprintf(s.order, sizeof s.order, "ord_%08x", i * 2654435761u);
    snprintf(s.user, sizeof s.user, "user-%u", i * 7919 % 10007);
    snprintf(s.trace, sizeof s.trace, "%08x%08x%08x%08x", i, i * 7, i * 13, ~i);
    snprintf(s.span, sizeof s.span, "%08x%08x", i * 31, i * 17);
    snprintf(s.body, sizeof s.body,
             "order %s %s for %s in %d ms after %u attempts, total %u.%02u EUR", s.order,
             verbs[i % ARRAY_LEN(verbs)], s.user, s.ms, i % 3, i % 500, i % 100);
    return s;
}

static void add_text(struct buf *out, const char *key, const char *text)
{
    size_t key_bytes = wire_len_size(1, strlen(key));
    size_t value_bytes = wire_len_size(1, strlen(text));
    wire_append_len_head(out, 6, key_bytes + wire_len_size(2, value_bytes));
    wire_append_len(out, 1, span_str(key));
    wire_append_len_head(out, 2, value_bytes);
    wire_append_len(out, 1, span_str(text));
}

static void add_number(struct buf *out, const char *key, uint64_t number)
{
    size_t value_bytes = 1 + wire_varint_size(number);
    wire_append_len_head(out, 6, wire_len_size(1, strlen(key)) + wire_len_size(2, value_bytes));
    wire_append_len(out, 1, span_str(key));
    wire_append_len_head(out, 2, value_bytes);
    wire_append_varint(out, 3, number);
}

static void add_record(struct buf *out, unsigned i)
{
    struct sample s = make_sample(i);
    struct buf r = {0};
    wire_append_i64(&r, 1, s.time_ns);
    wire_append_varint(&r, 2, 9);
    wire_append_len(&r, 3, SPAN("INFO"));
    wire_append_len_head(&r, 5, wire_len_size(1, strlen(s.body)));
    wire_append_len(&r, 1, span_str(s.body));
    add_text(&r, "http.request.method", "POST");
    add_text(&r, "http.route", routes[i % ARRAY_LEN(routes)]);
    add_number(&r, "http.response.status_code", (uint64_t)s.status);
    add_number(&r, "duration_ms", (uint64_t)s.ms);
    add_text(&r, "order.id", s.order);
    add_text(&r, "enduser.id", s.user);
    add_text(&r, "code.function", "charge_customer");
    add_text(&r, "logger.name", "shop.payments.worker");
    add_text(&r, "thread.name", "worker-7");
    add_text(&r, "net.peer.name", "db-1.internal");
    wire_append_len(&r, 9, (struct span){(const uint8_t *)s.trace, 16});
    wire_append_len(&r, 10, (struct span){(const uint8_t *)s.span, 8});
    wire_append_i64(&r, 11, s.time_ns + 1000);
    wire_append_len(out, 2, buf_span(&r));
    buf_done(&r);
}

static void make_request(struct buf *out)
{
    struct buf records = {0}, resource = {0}, scope_logs = {0}, resource_logs = {0};
    for (unsigned i = 0; i < RECORDS; i++)
        add_record(&records, i);
    wire_append_len(&resource_logs, 1, SPAN("\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04shop"));
    wire_append_len(&scope_logs, 1, SPAN("\x0a\x04shop"));
    buf_append(&scope_logs, buf_span(&records));
    wire_append_len(&resource_logs, 2, buf_span(&scope_logs));
    wire_append_len(out, 1, buf_span(&resource_logs));
    buf_done(&records);
    buf_done(&resource);
    buf_done(&scope_logs);
    buf_done(&resource_logs);
}

static void json_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, "{\"key\":\"%s\",\"value\":{\"stringValue\":\"%s\"}},", key, text);
}

static void make_json(struct buf *out)
{
    buf_append_str(out,
                   "{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\","
                   "\"value\":{\"stringValue\":\"shop\"}}]},\"scopeLogs\":[{\"scope\":"
                   "{\"name\":\"shop\"},\"logRecords\":[");
    for (unsigned i = 0; i < RECORDS; i++) {
        struct sample s = make_sample(i);
        buf_printf(out,
                   "%s{\"timeUnixNano\":\"%llu\",\"severityNumber\":9,\"severityText\":\"INFO\","
                   "\"body\":{\"stringValue\":\"%s\"},\"attributes\":[",
                   i > 0 ? "," : "", (unsigned long long)s.time_ns, s.body);
        json_text(out, "http.request.method", "POST");
        json_text(out, "http.route", routes[i % ARRAY_LEN(routes)]);
        json_text(out, "order.id", s.order);
        json_text(out, "enduser.id", s.user);
        json_text(out, "code.function", "charge_customer");
        json_text(out, "logger.name", "shop.payments.worker");
        json_text(out, "thread.name", "worker-7");
        json_text(out, "net.peer.name", "db-1.internal");
        buf_printf(out,
                   "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"%d\"}},"
                   "{\"key\":\"duration_ms\",\"value\":{\"intValue\":%d}}],"
                   "\"traceId\":\"%s\",\"spanId\":\"%s\",\"observedTimeUnixNano\":\"%llu\"}",
                   s.status, s.ms, s.trace, s.span, (unsigned long long)s.time_ns + 1000);
    }
    buf_append_str(out, "]}]}]}");
}

struct bench {
    struct buf request, json, out;
    struct arena arena;
    struct batch_builder *builder;
    struct json_decoder *decoder;
    uint64_t sum; /* keeps the compiler honest */
};

static void run_check(struct bench *b)
{
    struct logs_count count = {0};
    if (logs_check(buf_span(&b->request), &count) < 0 || count.records != RECORDS)
        abort();
}

static int on_skip(void *ctx, const struct logs_group *g, struct span record)
{
    struct bench *b = ctx;
    b->sum += record.len + g->scope_index;
    return 0;
}

static int on_read(void *ctx, const struct logs_group *g, struct span record)
{
    struct bench *b = ctx;
    struct log_record r;
    (void)g;
    if (log_record_read(&r, record) < 0)
        return ERR_MALFORMED;
    b->sum += r.time_unix_ns + r.body.text.len + r.known_set + log_severity(&r);
    return 0;
}

static int on_attrs(void *ctx, const struct logs_group *g, struct span record)
{
    struct bench *b = ctx;
    struct log_attrs attrs;
    struct log_attr attr;
    (void)g;
    log_attrs_of_record(&attrs, record);
    while (log_attrs_next(&attrs, &attr))
        b->sum += attr.key.len + attr.value.kind;
    return 0;
}

static int on_add(void *ctx, const struct logs_group *g, struct span record)
{
    static const uint8_t stamp[STAMP_BYTES] = {0x32, STAMP_BYTES - 2};
    struct bench *b = ctx;
    return batch_add(b->builder, g, record, (struct span){stamp, sizeof stamp}, 1);
}

static void each(struct bench *b, logs_record_fn *fn)
{
    if (logs_each(buf_span(&b->request), 1, &b->arena, fn, b) < 0)
        abort();
    arena_reset(&b->arena);
}

static void run_each(struct bench *b)
{
    each(b, on_skip);
}

static void run_read(struct bench *b)
{
    each(b, on_read);
}

static void run_attrs(struct bench *b)
{
    each(b, on_attrs);
}

static void run_batch(struct bench *b)
{
    struct batch *batch;
    each(b, on_add);
    if (batch_seal(b->builder, &batch) < 0)
        abort();
    batch_free(batch);
}

static void run_json(struct bench *b)
{
    struct error err = {{0}};
    buf_clear(&b->out);
    if (json_logs_decode(b->decoder, &b->json, &b->out, &(struct logs_count){0}, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct bench *b);
    } steps[] = {
        {"logs_check", run_check},
        {"logs_each alone", run_each},
        {"logs_each + log_record_read", run_read},
        {"logs_each + log_attrs_next", run_attrs},
        {"logs_each + batch_add, seal, free", run_batch},
        {"json_logs_decode", run_json},
    };
    int rounds = argc > 1 ? atoi(argv[1]) : 300;
    struct bench b = {0};

    make_request(&b.request);
    make_json(&b.json);
    arena_init(&b.arena, 1 << 20, NULL);
    b.builder = batch_builder_new(&(struct batch_opts){0});
    b.decoder = json_decoder_new(NULL);
    printf("%zu bytes a record, as JSON %zu\n", b.request.len / RECORDS, b.json.len / RECORDS);

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        double best = 1e18;
        for (int round = 0; round < rounds; round++) {
            double start = now_ns();
            steps[i].run(&b);
            double took = now_ns() - start;
            best = took < best ? took : best;
        }
        printf("%-36s %7.1f ns a record\n", steps[i].name, best / RECORDS);
    }

    batch_builder_free(b.builder);
    json_decoder_free(b.decoder);
    arena_done(&b.arena);
    buf_done(&b.request);
    buf_done(&b.json);
    buf_done(&b.out);
    return b.sum == 0;
}
