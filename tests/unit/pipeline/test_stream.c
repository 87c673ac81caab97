/*
 * A budget on a stream that bursts: 200 patterns of Zipf's law at 2,000 records a second
 * for half an hour, 40 rare ones that are seen 2 to 8 times, and three bursts of a minute
 * with 8,000 records a second more: of a pattern that is known, of one that is new, and
 * of all at once. 2,800 a second on average, for a budget of 100.
 */
#include "unit/pipeline/rig.h"

#include <math.h>

enum {
    LOUD = 200,
    NEW = LOUD, /* of the second burst */
    RARE = 40,
    PATTERNS = LOUD + 1 + RARE,
    MINUTES = 30,
    SECONDS = MINUTES * 60,
    RATE = 2000,
    BURST_RATE = 8000,
    KNOWN = 20, /* of the first burst */
    BUDGET = 100,
    COUNTED = 50, /* records that make a pattern's minute worth an estimate */
    FIRST = 5,
    RECORD_BYTES = 24,
};

struct burst {
    unsigned from_s, pattern; /* LOUD + RARE + 1: all */
};

static const struct burst bursts[] = {{5 * 60, KNOWN}, {15 * 60 + 7, NEW}, {25 * 60, PATTERNS}};

struct cell {
    uint32_t truth;
    double sum;
};

struct stream {
    struct rng rng;
    double zipf[LOUD];                                                    /* cumulated */
    uint32_t rare_at[RARE * 8], rare_of[RARE * 8], rare_count, rare_next; /* ms, sorted */
    uint64_t made;
    struct cell cell[PATTERNS][MINUTES];
    uint32_t seen[PATTERNS], kept_in[SECONDS + 1];
    double truth, sum, kept, variance, lost;
};

static double unit(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) / 9007199254740992.0;
}

static unsigned poisson(struct rng *rng, double mean)
{
    double product = unit(rng), end = exp(-mean);
    unsigned n = 0;
    for (; product > end; n++)
        product *= unit(rng);
    return n;
}

static void stream_init(struct stream *s, uint64_t seed)
{
    double sum = 0;
    *s = (struct stream){.rng = {seed}};
    for (unsigned k = 0; k < LOUD; k++)
        s->zipf[k] = sum += 1.0 / (k + 1);
    for (unsigned k = 0; k < LOUD; k++)
        s->zipf[k] /= sum;
    for (unsigned k = 0; k < RARE; k++) {
        for (uint64_t n = 2 + rng_upto(&s->rng, 6); n > 0; n--) {
            uint32_t at = (uint32_t)rng_upto(&s->rng, SECONDS * 1000 - 1), i = s->rare_count++;
            for (; i > 0 && s->rare_at[i - 1] > at; i--) {
                s->rare_at[i] = s->rare_at[i - 1];
                s->rare_of[i] = s->rare_of[i - 1];
            }
            s->rare_at[i] = at;
            s->rare_of[i] = NEW + 1 + k;
        }
    }
}

static unsigned any_loud(struct stream *s)
{
    double u = unit(&s->rng);
    unsigned low = 0, high = LOUD - 1;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (s->zipf[mid] > u)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* The record of a pattern came at a time and stands for so many; 0: it was not kept. */
static void tally(struct stream *s, unsigned pattern, uint32_t at_ms, double weight, double p)
{
    struct cell *c = &s->cell[pattern][at_ms / 60000];
    c->truth++;
    c->sum += weight;
    s->truth++;
    s->sum += weight;
    s->variance += 1 / p - 1;
    if (weight <= 0)
        return;
    s->kept++;
    s->seen[pattern]++;
    s->kept_in[at_ms / 1000]++;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double quantile(double *sorted, size_t n, double q)
{
    return sorted[(size_t)(q * (double)(n - 1))];
}

static void check(struct stream *s, const char *name, uint64_t seed)
{
    static double errors[PATTERNS * MINUTES];
    size_t n = 0;
    unsigned worst = 0, first = 0, unseen = 0;
    for (unsigned k = 0; k < PATTERNS; k++) {
        for (unsigned m = 0; m < MINUTES; m++) {
            const struct cell *c = &s->cell[k][m];
            if (c->truth >= COUNTED)
                errors[n++] = fabs(c->sum / c->truth - 1);
        }
        if (k > NEW)
            unseen += s->seen[k] == 0;
    }
    for (unsigned i = 0; i < SECONDS; i++) {
        unsigned *most = i < 60 ? &first : &worst;
        if (s->kept_in[i] > *most)
            *most = s->kept_in[i];
    }
    qsort(errors, n, sizeof *errors, by_size);
    double used = s->kept / (BUDGET * (double)SECONDS), median = quantile(errors, n, 0.5);
    double sigmas = (s->sum - s->truth) / sqrt(s->variance);
    print_message(
        "%s %llx: %.0f records, budget used %.3f, worst second %u (first minute %u), "
        "rare unseen %u, error median %.3f p90 %.3f of %zu, total off %.2f %% (%.2f sigma)\n",
        name, (unsigned long long)seed, s->truth, used, worst, first, unseen, median,
        quantile(errors, n, 0.9), n, 100 * (s->sum / s->truth - 1), sigmas);
    assert_true(used > 0.95 && used < 1.05);
    assert_true(worst <= 2 * BUDGET);
    assert_int_equal(unseen, 0);
    assert_true(median <= 0.15);
    assert_true(fabs(sigmas) < 3);
    assert_true(s->lost <= 0);
}

/* ---- the sampler and the governor by themselves, all of the half hour --- */

struct bare {
    struct stream s;
    struct governor *governor;
    struct rules *rules;
    struct pattern entry[PATTERNS];
};

static void decide(struct bare *b, unsigned pattern, uint32_t at_ms)
{
    static const struct log_record record;
    static const struct logs_group group;
    uint64_t bytes[2] = {rng_next(&b->s.rng),
                         b->s.made++}; /* no two are alike, in no two streams */
    struct subject subject = {
        .group = &group,
        .bytes = span_of(bytes, sizeof bytes),
        .record = &record,
        .level = LEVEL_INFO,
        .signature = b->entry[pattern].key.signature,
        .family = pattern,
        .pattern = &b->entry[pattern],
        .now_ms = at_ms,
        .governor = b->governor,
    };
    assert_true(governor_begin(b->governor, at_ms, 0));
    governor_arrived(b->governor, RECORD_BYTES);
    struct decision d = sampler_decide(b->rules, &subject);
    bool kept = d.verdict == VERDICT_KEPT;
    double p = rules_rate_of(d.threshold);
    if (kept && reason_is_certain(d.reason))
        governor_certain(b->governor, RECORD_BYTES, true);
    if (kept && !governor_pay(b->governor, RECORD_BYTES, p < 1, false))
        b->s.lost++;
    tally(&b->s, pattern, at_ms, kept ? 1 / p : 0, p);
}

static void run(struct bare *b, uint32_t from_ms, uint32_t to_ms,
                void (*push)(struct bare *, unsigned, uint32_t))
{
    struct stream *s = &b->s;
    for (uint32_t ms = from_ms; ms < to_ms; ms++) {
        for (unsigned n = poisson(&s->rng, RATE / 1000.0); n > 0; n--)
            push(b, any_loud(s), ms);
        for (size_t i = 0; i < ARRAY_LEN(bursts); i++) {
            if (ms / 1000 - bursts[i].from_s >= 60)
                continue;
            for (unsigned n = poisson(&s->rng, BURST_RATE / 1000.0); n > 0; n--)
                push(b, bursts[i].pattern < PATTERNS ? bursts[i].pattern : any_loud(s), ms);
        }
        for (; s->rare_next < s->rare_count && s->rare_at[s->rare_next] <= ms; s->rare_next++)
            push(b, s->rare_of[s->rare_next], ms);
    }
}

static void half_an_hour(void **state)
{
    static const uint64_t seeds[] = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0};
    static const struct governor_target target = {GOVERNOR_RECORDS, BUDGET, 0.3};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
        struct bare *b = calloc(1, sizeof *b);
        const struct governor_opts opts = {target, PATTERNS, 0, NULL};
        assert_non_null(b);
        stream_init(&b->s, seeds[i]);
        assert_int_equal(governor_new(&b->governor, &opts), 0);
        assert_int_equal(rules_new(&b->rules), 0);
        assert_int_equal(rules_set_first(b->rules, FIRST, 60000, NULL), 0);
        for (unsigned k = 0; k < PATTERNS; k++)
            b->entry[k] =
                (struct pattern){.number = k, .key.signature = k * UINT64_C(0x9e3779b97f4a7c15)};
        run(b, 0, SECONDS * 1000, decide);
        check(&b->s, "sampler", seeds[i]);
        rules_unref(b->rules);
        governor_free(b->governor);
        free(b);
    }
}

/* ---- the pipeline as it is --------------------------------------------- */

struct whole {
    struct bare bare; /* first: the stream, and the way records take */
    struct rig rig;
};

/* Words without digits, so that each number is a pattern of its own. */
static void push(struct bare *b, unsigned pattern, uint32_t at_ms)
{
    struct rig *r = &((struct whole *)b)->rig;
    char word[] = "event of kind aa took 12 ms";
    word[14] = (char)('a' + pattern / 16);
    word[15] = (char)('a' + pattern % 16);
    clock_fake_advance(&r->clock, at_ms - r->clock.now_ms);
    requests_begin(&r->requests);
    requests_record(&r->requests, &(const struct request_record){
                                      .body = word,
                                      .time_ns = rng_next(&b->s.rng) >> 1 | 1,
                                  });
    requests_resource(&r->requests, NULL);
    assert_int_equal(rig_send(r), 0);
    double weight = r->last_weight;
    tally(&b->s, pattern, at_ms, weight, weight > 0 ? 1 / weight : 1);
    /* Only survivors tell their p: together with tally() each adds w * (w - 1). */
    b->s.variance += weight > 0 ? (weight - 1) * (weight - 1) : 0;
}

static void half_an_hour_of_the_pipeline(void **state)
{
    struct whole *w = calloc(1, sizeof *w);
    struct stream *s = &w->bare.s;
    struct rig *r = &w->rig;
    (void)state;
    assert_non_null(w);
    stream_init(s, 99);
    rig_init(r);
    clock_fake_init(&r->clock, 0, RIG_START_NS);
    assert_int_equal(rules_set_first(r->rules, FIRST, 60000, NULL), 0);
    r->opts.max_patterns = 1024;
    r->opts.max_services = 4;
    r->opts.target = (struct governor_target){GOVERNOR_RECORDS, BUDGET, 0.3};
    rig_open(r);
    run(&w->bare, 0, SECONDS * 1000, push);
    check(s, "pipeline", 99);

    struct governor_stats stats = pipeline_governor(r->pipeline);
    const struct census_reasons *why = pipeline_reasons(r->pipeline);
    assert_int_equal(ledger_total(pipeline_ledger(r->pipeline))->fate[FATE_LOST_BUDGET], 0);
    assert_true(fabs(stats.used - s->kept) < 0.5);
    assert_true(fabs(stats.allowed / (BUDGET * (double)SECONDS) - 1) < 0.01);
    assert_true(why->kept[REASON_BUDGET] > 0 && why->dropped[REASON_BUDGET] > 0);
    assert_int_equal(why->dropped[REASON_GLOBAL_RATE], 0); /* its rate is 1 */
    rig_close(r);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_an_hour),
        cmocka_unit_test(half_an_hour_of_the_pipeline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
