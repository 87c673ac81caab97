/* anomalies: one walk over the minutes of all patterns, pattern by pattern. */
#include "server/anomalies.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/novelty.h"

#define SPAN_S 300
#define SPANS 13 /* the last, and twelve before */
#define HOUR_MS 3600000
#define TEXT_BYTES 1100 /* a template */
#define NAME_BYTES 260

/* One pattern, or the errors of one service, as they are walked over. */
struct series {
    int64_t id; /* 0: none yet */
    int64_t service_id;
    char service[NAME_BYTES], signature[NAME_BYTES], text[TEXT_BYTES];
    char instance[NAME_BYTES]; /* the only one that has it; "": several, or not known */
    uint32_t minutes;          /* that it came in */
    double spans[SPANS];       /* the last is number 0 */
    int64_t first_ms, service_ms;
    bool is_error;
};

struct walk {
    anomaly_fn *fn;
    void *ctx;
    int64_t end_s, now_ms;
    struct series pattern, errors;
    struct store *store;
    int64_t novelty_of; /* the service that the next is of; 0: none yet */
    struct novelty novelty;
};

/* ---- judgement ----------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct judgement {
    double median, sigmas, ratio;
};

static struct judgement judge(const double spans[SPANS])
{
    double before[SPANS - 1], off[SPANS - 1];
    memcpy(before, spans + 1, sizeof before);
    qsort(before, ARRAY_LEN(before), sizeof *before, by_size);
    double median = (before[5] + before[6]) / 2;
    for (size_t i = 0; i < ARRAY_LEN(off); i++)
        off[i] = fabs(before[i] - median);
    qsort(off, ARRAY_LEN(off), sizeof *off, by_size);
    double spread = 1.4826 * (off[5] + off[6]) / 2; /* of the normal distribution */
    double chance = sqrt(fmax(median, 1));
    return (struct judgement){median, (spans[0] - median) / fmax(spread, chance),
                              spans[0] / fmax(median, 1)};
}

static void copy(char *to, size_t size, struct span from)
{
    snprintf(to, size, "%.*s", (int)from.len, from.base == NULL ? "" : (const char *)from.base);
}

static struct anomaly anomaly_of(const struct walk *w, const struct series *s, const char *type,
                                 const char *severity)
{
    return (struct anomaly){
        .service = span_str(s->service),
        .signature = span_str(s->signature),
        .template_text = span_str(s->text),
        .type = type,
        .severity = severity,
        .current = s->spans[0],
        .confidence = 1,
        .detected_ms = w->end_s * 1000,
    };
}

static int judge_spike(struct walk *w, const struct series *s, const char *type)
{
    struct judgement j = judge(s->spans);
    bool is_known = w->now_ms - s->first_ms > HOUR_MS;
    if (!is_known || s->spans[0] < ANOMALY_LEAST || j.ratio < ANOMALY_RATIO ||
        j.sigmas < ANOMALY_SIGMAS)
        return 0;
    struct anomaly a = anomaly_of(w, s, type, j.ratio >= 5 ? "high" : "medium");
    a.baseline = j.median;
    a.confidence = fmin(j.ratio / 10, 1);
    return w->fn(w->ctx, &a);
}

/* Once a service. */
static int read_novelty(struct walk *w, const struct series *s)
{
    if (w->novelty_of == s->service_id)
        return 0;
    w->novelty_of = s->service_id;
    return novelty_read(&w->novelty, w->store, s->service_id, s->service_ms, w->now_ms);
}

static int judge_new(struct walk *w, const struct series *s)
{
    const struct novelty *n = &w->novelty;
    int rc = read_novelty(w, s);
    if (rc < 0)
        return rc;
    bool is_of_version = novelty_is_of_version(n, s->first_ms);
    struct anomaly a = anomaly_of(w, s, is_of_version ? "new_since_version" : "new_pattern",
                                  s->is_error ? "high" : "medium");
    if (is_of_version) {
        a.where = span_str(n->version);
        a.minutes = (s->first_ms - n->version_ms) / 60000;
    }
    rc = w->fn(w->ctx, &a);
    if (rc != 0 || !novelty_is_on_one(n, span_str(s->instance), s->first_ms, s->minutes, &a.others))
        return rc;
    a.type = "new_on_instance";
    a.where = span_str(s->instance);
    a.minutes = (w->now_ms - s->first_ms) / 60000;
    return w->fn(w->ctx, &a);
}

static int judge_pattern(struct walk *w)
{
    const struct series *s = &w->pattern;
    if (s->id == 0 || s->signature[0] == '\0')
        return 0;
    if (w->now_ms - s->first_ms <= HOUR_MS && s->first_ms - s->service_ms > HOUR_MS)
        return judge_new(w, s);
    return judge_spike(w, s, "rate_spike");
}

static int judge_service(struct walk *w)
{
    return w->errors.id == 0 ? 0 : judge_spike(w, &w->errors, "error_surge");
}

static void word_counts(char *out, size_t size, const struct anomaly *a)
{
    snprintf(out, size, "%.0f in five minutes, %.0f before: ", a->current, a->baseline);
}

static void word_new(char *out, size_t size, const struct anomaly *a)
{
    (void)a;
    snprintf(out, size, "new: ");
}

static void word_on_instance(char *out, size_t size, const struct anomaly *a)
{
    snprintf(out, size,
             "new on one of %u instances, %.*s, for %" PRId64 " minutes: ", a->others + 1,
             (int)a->where.len, (const char *)a->where.base, a->minutes);
}

static void word_since_version(char *out, size_t size, const struct anomaly *a)
{
    snprintf(out, size, "new since version %.*s, %" PRId64 " minutes after its first record: ",
             (int)a->where.len, (const char *)a->where.base, a->minutes);
}

/* All others are counts. */
static const struct {
    const char *type;
    void (*word)(char *out, size_t size, const struct anomaly *a);
} words[] = {
    {"new_pattern", word_new},
    {"new_on_instance", word_on_instance},
    {"new_since_version", word_since_version},
};

void anomaly_word(char *out, size_t size, const struct anomaly *a)
{
    void (*word)(char *out, size_t size, const struct anomaly *a) = word_counts;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(a->type, words[i].type) == 0)
            word = words[i].word;
    word(out, size, a);
    size_t n = strlen(out);
    snprintf(out + n, size - n, "%.*s", (int)a->template_text.len,
             a->template_text.base == NULL ? "" : (const char *)a->template_text.base);
}

/* ---- the walk ------------------------------------------------------------ */

/* Columns: service, its name and age; pattern, its texts and age, is it of errors; minute, count;
 * the one instance that has it. */
static int on_minute(void *ctx, const struct store_value *v)
{
    struct walk *w = ctx;
    int rc = 0;
    if (v[3].number != w->pattern.id) {
        rc = judge_pattern(w);
        w->pattern = (struct series){.id = v[3].number,
                                     .service_id = v[0].number,
                                     .first_ms = v[6].number,
                                     .service_ms = v[2].number,
                                     .is_error = v[7].number != 0};
        copy(w->pattern.service, NAME_BYTES, v[1].text);
        copy(w->pattern.signature, NAME_BYTES, v[4].text);
        copy(w->pattern.text, TEXT_BYTES, v[5].text);
        copy(w->pattern.instance, NAME_BYTES, v[10].text);
    }
    if (rc == 0 && v[0].number != w->errors.id) {
        rc = judge_service(w);
        w->errors = (struct series){.id = v[0].number, .first_ms = v[2].number};
        copy(w->errors.service, NAME_BYTES, v[1].text);
        copy(w->errors.text, TEXT_BYTES, SPAN("all errors of the service"));
    }
    w->pattern.minutes += v[9].number > 0;
    int64_t span = (w->end_s - v[8].number - 1) / SPAN_S;
    if (span >= 0 && span < SPANS) {
        w->pattern.spans[span] += (double)v[9].number;
        if (v[7].number != 0)
            w->errors.spans[span] += (double)v[9].number;
    }
    return rc;
}

int anomalies_each(struct store *s, int64_t team, int64_t service, int64_t now_ms, anomaly_fn *fn,
                   void *ctx)
{
    int64_t now_s = now_ms / 1000;
    struct walk w = {
        .fn = fn, .ctx = ctx, .end_s = now_s - now_s % 60, .now_ms = now_ms, .store = s};
    const struct store_value v[] = {store_int(team), store_int(service),
                                    store_int(w.end_s - SPANS * SPAN_S), store_int(w.end_s)};
    int rc = store_run(s,
                       "SELECT s.id, s.name, s.created_ms, p.id, p.signature, p.template, "
                       "p.first_seen_ms, "
                       "CASE WHEN 2 * (p.errors + p.fatals) > p.received THEN 1 ELSE 0 END, "
                       "c.start_s, c.received, p.instance FROM services s "
                       "CROSS JOIN patterns p CROSS JOIN counts c "
                       "WHERE s.team_id = $1 AND (s.id = $2 OR $2 = 0) AND p.service_id = s.id AND "
                       "c.grain_s = 60 AND c.pattern_id = p.id AND c.start_s >= $3 AND "
                       "c.start_s < $4 "
                       "ORDER BY s.id, p.id, c.start_s",
                       v, ARRAY_LEN(v), on_minute, &w);
    if (rc == 0)
        rc = judge_pattern(&w);
    return rc == 0 ? judge_service(&w) : rc;
}
