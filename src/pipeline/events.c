/* events: marks beside the pattern table, and who may speak. */
#include "pipeline/events.h"

#include <stdlib.h>

#include "pattern/signature.h"
#include "pipeline/event_record.h"
#include "pipeline/rules.h"
#include "util/blocks.h"
#include "util/err.h"
#include "util/unicode.h"

#define SAMPLE_BYTES 1024
#define SAMPLES_BYTES (1u << 20) /* of all */
#define MINUTE_MS 60000
#define STORM_ENDS_MS 10000 /* no error was suppressed for so long */
#define SERVICES_A_TICK 32  /* bounded work: the others come with the next second */
#define NO_SERVICE UINT32_MAX

struct sample {
    uint16_t len;
    uint8_t field; /* of AnyValue */
    uint8_t bytes[];
};

/* How far summaries have reported an entry. */
struct mark {
    struct pattern_counts reported;
    uint64_t since_ns; /* 0: from its beginning */
    struct sample *sample;
};

struct events {
    struct events_opts opts;
    uint64_t now_ms, unix_ns, summed_ms; /* summed_ms: the last round of summaries; 0: none */
    uint64_t minute_ms;
    uint32_t in_minute;
    uint64_t omitted;    /* since the last event */
    struct blocks marks; /* by number of the pattern's entry */
    size_t sample_bytes;
    struct pattern_counts reported_of_evicted;
    uint32_t *suppressed; /* by service; NULL without a limit */
    uint64_t suppressed_all, suppressed_first_ms, suppressed_last_ms, suppressed_told_ms;
    struct event_record record;
    struct events_stats stats;
};

const char *event_name(enum event e)
{
    static const char *const names[] = {
#define X(name, text) [EVENT_##name] = text,
        EVENTS(X)
#undef X
    };
    return names[e];
}

/* ---- life, marks, samples ---------------------------------------------- */

static int take(struct events *v, size_t bytes)
{
    return budget_take(v->opts.budget, bytes);
}

static void give(struct events *v, size_t bytes)
{
    budget_give(v->opts.budget, bytes);
}

int events_new(struct events **out, const struct events_opts *opts)
{
    struct events *v = calloc(1, sizeof *v);
    if (v == NULL)
        return ERR_NOMEM;
    v->opts = *opts;
    int rc = blocks_init(&v->marks, opts->max_patterns, opts->budget);
    if (opts->floor_per_second > 0)
        v->suppressed = calloc(opts->max_services, sizeof *v->suppressed);
    if (rc < 0 || (opts->floor_per_second > 0 && v->suppressed == NULL)) {
        events_free(v);
        return ERR_NOMEM;
    }
    *out = v;
    return 0;
}

static void drop_sample(struct events *v, struct mark *m)
{
    if (m->sample == NULL)
        return;
    size_t bytes = sizeof *m->sample + m->sample->len;
    give(v, bytes);
    v->sample_bytes -= bytes;
    free(m->sample);
    m->sample = NULL;
}

/* NULL: nothing of it was reported. */
static struct mark *find(const struct events *v, uint32_t number)
{
    return blocks_find(&v->marks, number, sizeof(struct mark));
}

static struct mark *find_or_make(struct events *v, uint32_t number)
{
    return blocks_use(&v->marks, number, sizeof(struct mark));
}

void events_free(struct events *v)
{
    if (v == NULL)
        return;
    for (uint32_t i = 0; v->marks.blocks != NULL && i < blocks_entries(&v->marks); i++) {
        struct mark *m = find(v, i);
        if (m != NULL)
            drop_sample(v, m);
    }
    blocks_done(&v->marks, sizeof(struct mark));
    event_record_done(&v->record);
    free(v->suppressed);
    free(v);
}

/* The entry is gone: what was reported of it was reported of the evicted. */
void events_forget(struct events *v, uint32_t number)
{
    struct mark *m = find(v, number);
    if (m == NULL)
        return;
    pattern_counts_add(&v->reported_of_evicted, &m->reported);
    drop_sample(v, m);
    *m = (struct mark){0};
}

bool events_wants_sample(struct events *v, uint32_t number)
{
    const struct mark *m = v->opts.enabled ? find_or_make(v, number) : NULL;
    return m != NULL && m->sample == NULL && v->sample_bytes < SAMPLES_BYTES;
}

void events_sample(struct events *v, uint32_t number, const struct log_value *body)
{
    static const uint8_t fields[] = {[LOG_STRING] = 1, [LOG_ARRAY] = 5, [LOG_KVLIST] = 6};
    struct mark *m = v->opts.enabled ? find_or_make(v, number) : NULL;
    if (m == NULL || m->sample != NULL || v->sample_bytes >= SAMPLES_BYTES ||
        body->kind >= ARRAY_LEN(fields) || fields[body->kind] == 0)
        return;
    struct span text = body->kind == LOG_STRING ? utf8_cut(body->text, SAMPLE_BYTES) : body->text;
    size_t bytes = sizeof *m->sample + text.len;
    if (text.len == 0 || text.len > SAMPLE_BYTES || take(v, bytes) < 0)
        return;
    m->sample = malloc(bytes);
    if (m->sample == NULL) {
        give(v, bytes);
        return;
    }
    *m->sample = (struct sample){(uint16_t)text.len, fields[body->kind]};
    memcpy(m->sample->bytes, text.base, text.len);
    v->sample_bytes += bytes;
}

/* ---- one event --------------------------------------------------------- */

static struct span service_name(const struct events *v, uint32_t service)
{
    return service == NO_SERVICE ? SPAN("lipservice")
                                 : ledger_service_name(v->opts.ledger, service);
}

static void begin(struct events *v, enum event e, bool is_warning, uint32_t service)
{
    event_record_begin(&v->record, event_name(e), is_warning, v->unix_ns, service_name(v, service));
    if (v->omitted > 0)
        event_record_count(&v->record, "lipservice.events.omitted", v->omitted);
}

static bool end(struct events *v, enum event e)
{
    struct logs_group g;
    struct span record;
    int rc = event_record_end(&v->record, v->opts.seed, &g, &record);
    if (rc == 0)
        rc = v->opts.send(v->opts.ctx, &g, record);
    if (rc < 0) {
        v->stats.dropped++;
        v->omitted += e != EVENT_SUMMARY && e != EVENT_SUPPRESSED; /* these are sent later */
        return false;
    }
    v->omitted = 0;
    v->stats.sent[e]++;
    return true;
}

static void put_pattern(struct event_record *r, const struct pattern *e)
{
    char id[SIGNATURE_TEXT_BYTES];
    signature_format(id, e->key.signature);
    event_record_text(r, "pattern.id", span_str(id));
    if (e->family != e->key.signature) {
        signature_format(id, e->family);
        event_record_text(r, "pattern.family", span_str(id));
    }
    if (e->template_text != NULL)
        event_record_text(r, "log.record.template", span_of(e->template_text, e->template_len));
    event_record_text(r, "lipservice.level", span_str(level_name((enum level)e->key.level)));
    event_record_time(r, "lipservice.first_seen", e->first_seen_ns);
    event_record_time(r, "lipservice.last_seen", pattern_last_seen_ns(e));
}

static void put_template(struct event_record *r, const struct pattern *e)
{
    if (e->template_text != NULL)
        event_record_body(r, ": %.*s", (int)e->template_len, e->template_text);
}

static void put_counts(struct event_record *r, const struct pattern_counts *n)
{
    event_record_count(r, "lipservice.received", n->received);
    event_record_count(r, "lipservice.kept", n->kept);
    event_record_count(r, "lipservice.sampled_out", n->sampled_out);
    event_record_count(r, "lipservice.dropped_by_rule", n->dropped_by_rule);
}

/* ---- anomalies --------------------------------------------------------- */

static bool may_speak(struct events *v)
{
    if (v->now_ms - v->minute_ms >= MINUTE_MS) {
        v->minute_ms = v->now_ms;
        v->in_minute = 0;
    }
    if (v->in_minute < v->opts.max_per_minute) {
        v->in_minute++;
        return true;
    }
    v->stats.dropped++;
    v->omitted++;
    return false;
}

static void put_news(struct event_record *r, const struct anomaly_news *n, const char *whose)
{
    switch (n->kind) {
    case ANOMALY_NEW:
        event_record_body(r, "New pattern");
        return;
    case ANOMALY_SURGE:
        event_record_body(r, "%s surges: %.3g records a second, usually %.3g", whose, n->rate,
                          n->usual_rate);
        break;
    case ANOMALY_ERRORS:
        event_record_body(r, "Errors surge: %.3g a second, usually %.3g", n->rate, n->usual_rate);
        break;
    default:
        event_record_body(r, "%s fell silent: no record for %.3g s, usually %.3g a second", whose,
                          (double)n->for_ms / 1000, n->usual_rate);
        event_record_number(r, "lipservice.silent_seconds", (double)n->for_ms / 1000);
        break;
    }
    event_record_number(r, "lipservice.rate", n->rate);
    event_record_number(r, "lipservice.rate.usual", n->usual_rate);
}

void events_anomaly(void *events, const struct anomaly_news *n)
{
    static const enum event of_pattern[] = {
        [ANOMALY_NEW] = EVENT_NEW, [ANOMALY_SURGE] = EVENT_SURGE, [ANOMALY_SILENT] = EVENT_SILENT};
    static const enum event of_service[] = {[ANOMALY_SURGE] = EVENT_SERVICE_SURGE,
                                            [ANOMALY_SILENT] = EVENT_SERVICE_SILENT,
                                            [ANOMALY_ERRORS] = EVENT_SERVICE_ERRORS};
    struct events *v = events;
    const struct pattern *e = n->of_service ? NULL : patterns_at(v->opts.patterns, n->number);
    if (!v->opts.enabled || (e != NULL && !e->in_use) || !may_speak(v))
        return;
    enum event kind = n->of_service ? of_service[n->kind] : of_pattern[n->kind];
    bool is_warning = n->kind == ANOMALY_SURGE || n->kind == ANOMALY_ERRORS;
    begin(v, kind, is_warning, e == NULL ? n->number : e->key.service);
    put_news(&v->record, n, e == NULL ? "Service" : "Pattern");
    if (e != NULL) {
        put_template(&v->record, e);
        put_pattern(&v->record, e);
        put_counts(&v->record, &e->counts);
    }
    end(v, kind);
}

/* ---- summaries --------------------------------------------------------- */

struct loss {
    uint64_t dropped;
    uint32_t number;
};

static struct pattern_counts counts_since(const struct pattern_counts *now,
                                          const struct pattern_counts *then)
{
    return (struct pattern_counts){
        .received = now->received - then->received,
        .kept = now->kept - then->kept,
        .sampled_out = now->sampled_out - then->sampled_out,
        .dropped_by_rule = now->dropped_by_rule - then->dropped_by_rule,
        .received_bytes = now->received_bytes - then->received_bytes,
        .kept_bytes = now->kept_bytes - then->kept_bytes,
    };
}

static uint64_t dropped(const struct pattern_counts *n)
{
    return n->sampled_out + n->dropped_by_rule;
}

/* What was not reported of an entry yet; its mark may be NULL. */
static struct pattern_counts untold(const struct events *v, uint32_t number)
{
    static const struct mark none = {0};
    const struct mark *m = find(v, number);
    return counts_since(&patterns_at(v->opts.patterns, number)->counts,
                        m == NULL ? &none.reported : &m->reported);
}

static void mark_told(struct events *v, uint32_t number)
{
    struct mark *m = find(v, number);
    if (m == NULL) /* see collect() */
        return;
    m->reported = patterns_at(v->opts.patterns, number)->counts;
    m->since_ns = v->unix_ns;
    drop_sample(v, m);
}

static bool send_pattern(struct events *v, uint32_t number)
{
    const struct pattern *e = patterns_at(v->opts.patterns, number);
    const struct mark *m = find(v, number);
    struct event_record *r = &v->record;
    struct pattern_counts n = untold(v, number);
    begin(v, EVENT_SUMMARY, false, e->key.service);
    event_record_body(r, "%llu of %llu records were dropped", (unsigned long long)dropped(&n),
                      (unsigned long long)n.received);
    put_template(r, e);
    put_pattern(r, e);
    put_counts(r, &n);
    event_record_time(r, "lipservice.since", m->since_ns != 0 ? m->since_ns : e->first_seen_ns);
    if (m->sample != NULL)
        event_record_value(r, "lipservice.sample", m->sample->field,
                           span_of(m->sample->bytes, m->sample->len));
    if (!end(v, EVENT_SUMMARY))
        return false;
    mark_told(v, number);
    return true;
}

/* Entries whose losses are untold, in *list, which has room for as many as there are slots.
 * Entries that there is no memory for a mark of are left to be evicted: then they are reported. */
static uint32_t collect(struct events *v, struct loss *list)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < patterns_slots(v->opts.patterns); i++) {
        if (!patterns_at(v->opts.patterns, i)->in_use) {
            events_forget(v, i);
            continue;
        }
        struct pattern_counts n = untold(v, i);
        if (dropped(&n) > 0 && find_or_make(v, i) != NULL)
            list[count++] = (struct loss){dropped(&n), i};
    }
    return count;
}

static int louder(const void *a, const void *b)
{
    const struct loss *x = a, *y = b;
    return x->dropped != y->dropped ? (x->dropped < y->dropped ? 1 : -1)
                                    : (x->number > y->number) - (x->number < y->number);
}

/* All others, and what was evicted, in one. */
static void send_rest(struct events *v, const struct loss *list, uint32_t count)
{
    struct event_record *r = &v->record;
    struct pattern_counts n = counts_since(patterns_other(v->opts.patterns),
                                           &v->reported_of_evicted),
                          evicted = n;
    for (uint32_t i = 0; i < count; i++) {
        struct pattern_counts one = untold(v, list[i].number);
        pattern_counts_add(&n, &one);
    }
    if (dropped(&n) == 0)
        return;
    begin(v, EVENT_SUMMARY, false, NO_SERVICE);
    event_record_body(r, "%llu of %llu records of other patterns were dropped",
                      (unsigned long long)dropped(&n), (unsigned long long)n.received);
    event_record_count(r, "lipservice.patterns", count);
    put_counts(r, &n);
    if (!end(v, EVENT_SUMMARY))
        return;
    pattern_counts_add(&v->reported_of_evicted, &evicted);
    for (uint32_t i = 0; i < count; i++)
        mark_told(v, list[i].number);
}

static void tell_losses(struct events *v)
{
    size_t bytes = patterns_slots(v->opts.patterns) * sizeof(struct loss);
    v->summed_ms = v->now_ms;
    if (bytes == 0 || take(v, bytes) < 0)
        return; /* with the next */
    struct loss *list = malloc(bytes);
    if (list != NULL) {
        uint32_t count = collect(v, list), sent = 0;
        qsort(list, count, sizeof *list, louder);
        while (sent < count && sent < v->opts.max_per_minute && send_pattern(v, list[sent].number))
            sent++;
        send_rest(v, list + sent, count - sent);
    }
    give(v, bytes);
    free(list);
}

/* ---- suppressed errors ------------------------------------------------- */

void events_suppressed(struct events *v, uint32_t service, uint64_t now_ms)
{
    if (v->suppressed_all == 0)
        v->suppressed_first_ms = now_ms;
    if (v->suppressed_last_ms == 0 || now_ms - v->suppressed_last_ms > STORM_ENDS_MS)
        v->suppressed_told_ms = now_ms; /* a new storm */
    v->suppressed[service]++;
    v->suppressed_all++;
    v->suppressed_last_ms = now_ms;
}

static bool tell_service(struct events *v, uint32_t service)
{
    struct event_record *r = &v->record;
    uint32_t n = v->suppressed[service];
    double seconds = (double)(v->suppressed_last_ms - v->suppressed_first_ms) / 1000;
    begin(v, EVENT_SUPPRESSED, true, service);
    event_record_body(
        r, "%u errors were dropped in %.3g s: more than sampling.floor.max_per_second (%u)", n,
        seconds, v->opts.floor_per_second);
    event_record_count(r, "lipservice.errors.suppressed", n);
    event_record_number(r, "lipservice.seconds", seconds);
    event_record_count(r, "lipservice.limit", v->opts.floor_per_second);
    if (!end(v, EVENT_SUPPRESSED))
        return false;
    v->suppressed[service] = 0;
    v->suppressed_all -= n;
    return true;
}

static void tell_suppressed(struct events *v, uint32_t most)
{
    uint32_t services = ledger_services(v->opts.ledger);
    for (uint32_t i = 0; i < services && most > 0; i++)
        if (v->suppressed[i] > 0 && (most--, !tell_service(v, i)))
            return;
    if (v->suppressed_all == 0)
        v->suppressed_told_ms = v->now_ms;
}

/* ---- time -------------------------------------------------------------- */

void events_tick(struct events *v, uint64_t now_ms, uint64_t unix_ns)
{
    v->now_ms = now_ms;
    v->unix_ns = unix_ns;
    if (v->summed_ms == 0 || now_ms < v->summed_ms)
        v->summed_ms = now_ms;
    if (v->suppressed_all > 0 && (now_ms - v->suppressed_last_ms >= STORM_ENDS_MS ||
                                  now_ms - v->suppressed_told_ms >= v->opts.summary_ms))
        tell_suppressed(v, SERVICES_A_TICK);
    if (v->opts.enabled && now_ms - v->summed_ms >= v->opts.summary_ms)
        tell_losses(v);
}

void events_finish(struct events *v)
{
    if (v->suppressed_all > 0)
        tell_suppressed(v, UINT32_MAX);
    if (v->opts.enabled)
        tell_losses(v);
}

const struct events_stats *events_stats(const struct events *v)
{
    return &v->stats;
}
