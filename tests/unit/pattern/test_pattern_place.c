#include "unit/test.h"

#include <stdio.h>

#include "pattern/pattern_place.h"
#include "pattern/signature_overflow.h"

#define ENTRIES 16384
#define CAP 2048
#define QUIET 1
#define NOISY 2

struct rig {
    struct budget budget;
    struct signer *signer;
    struct patterns *patterns;
    struct families *families;
    struct pattern_place place;
    uint64_t now_ns;
};

static void rig_open(struct rig *r)
{
    *r = (struct rig){.now_ns = 1700000000000000000u};
    budget_init(&r->budget, 32 << 20);
    const struct patterns_opts patterns = {.max_entries = ENTRIES,
                                           .max_services = 4,
                                           .max_per_service = CAP,
                                           .seed = 3,
                                           .budget = &r->budget};
    const struct families_opts families = {.weight = 8, .seed = 3, .budget = &r->budget};
    assert_int_equal(patterns_new(&r->patterns, &patterns), 0);
    assert_int_equal(families_new(&r->families, &families), 0);
    assert_int_equal(signer_new(&r->signer), 0);
    r->place =
        (struct pattern_place){r->patterns, r->families, r->signer, .overflow_entries = CAP / 8};
}

static void rig_close(struct rig *r)
{
    pattern_place_done(&r->place);
    signer_free(r->signer);
    families_free(r->families);
    patterns_free(r->patterns);
    assert_int_equal(r->budget.used, 0);
}

static struct pattern *place(struct rig *r, uint32_t service, const char *line, uint64_t *family)
{
    struct pattern_key key = {
        .signature = signer_sign_text(r->signer, span_str(line)), .service = service, .level = 2};
    struct pattern *e = pattern_place(&r->place, &key, r->now_ns, family);
    e->counts.received++;
    e->last_seen_s = (uint32_t)(r->now_ns / 1000000000);
    return e;
}

static struct span text_of(const struct pattern *e)
{
    return span_of(e->template_text, e->template_len);
}

/* A word of letters that no rule takes for a variable. */
static const char *word(char room[16], uint64_t n)
{
    char *at = room + 14;
    room[15] = '\0';
    room[14] = 'o';
    for (; n > 0; n /= 20)
        *--at = "bcdfghjklmnprstvwxyz"[n % 20];
    return at;
}

static uint64_t sum_of(struct patterns *p)
{
    uint64_t sum = patterns_other(p)->received;
    for (uint32_t i = 0; i < patterns_slots(p); i++)
        if (patterns_at(p, i)->in_use)
            sum += patterns_at(p, i)->counts.received;
    return sum;
}

static void a_million_patterns_of_one_service_leave_the_others_theirs(void **state)
{
    (void)state;
    struct rig r;
    char line[128], a[16], b[16], c[16];
    uint64_t family, full = 0;
    rig_open(&r);
    for (unsigned i = 0; i < 500; i++) {
        snprintf(line, sizeof line, "%s quietly did %s", word(a, i), word(b, i * 7));
        (void)place(&r, QUIET, line, &family);
    }
    uint64_t rare_signature = signer_sign_text(r.signer, span_str(line));
    for (unsigned i = 0; i < 1000000; i++) {
        /* All words vary, so that nothing becomes a family. */
        snprintf(line, sizeof line, "%s %s over %s", word(a, i % 700), word(b, i / 7 % 900),
                 word(c, i));
        struct pattern *e = place(&r, NOISY, line, &family);
        assert_true(family == e->key.signature);
        if (i == 100000)
            full = r.budget.used;
    }
    assert_true(r.place.overflowed > 990000);
    assert_int_equal(sum_of(r.patterns), 1000500);
    assert_true(patterns_count(r.patterns) <= 500 + CAP + 8);
    /* Flat: no more than holes of families that fill up their bounded table. */
    assert_true(r.budget.used < full + (4 << 20));
    const struct pattern_key rare = {.signature = rare_signature, .service = QUIET, .level = 2};
    assert_non_null(patterns_find(r.patterns, &rare));
    assert_int_equal(patterns_evicted(r.patterns), 0);
    rig_close(&r);
}

static void overflow_says_how_its_lines_begin(void **state)
{
    (void)state;
    struct rig r;
    char line[128], a[16], b[16];
    uint64_t family;
    rig_open(&r);
    for (unsigned i = 0; i < CAP - CAP / 8 + 1; i++) {
        snprintf(line, sizeof line, "%s with %s", word(a, i), word(b, i * 3));
        (void)place(&r, NOISY, line, &family);
    }
    assert_int_equal(r.place.overflowed, 1);
    uint64_t own = signer_sign_text(r.signer, SPAN("disk full at last"));
    const struct pattern *e = place(&r, NOISY, "disk full at last", &family);
    assert_true(span_eq(text_of(e), SPAN("lps1:overflow:disk full")));
    assert_true(family == e->key.signature && family != own);
    assert_ptr_equal(place(&r, NOISY, "disk full again", &family), e);
    assert_int_equal(e->counts.received, 2);
    /* Another service still has all its room. */
    e = place(&r, QUIET, "disk full at last", &family);
    assert_true(e->key.signature == own && family == own);

    /* When there are too many pairs of words, one entry takes the rest. */
    for (unsigned i = 0; i < CAP; i++) {
        snprintf(line, sizeof line, "%s %s ever so often", word(a, i + 5000), word(b, i + 9000));
        e = place(&r, NOISY, line, &family);
    }
    assert_true(span_eq(text_of(e), SPAN("lps1:overflow:")));
    rig_close(&r);
}

static void what_is_stale_makes_room(void **state)
{
    (void)state;
    struct rig r;
    char line[128], a[16], b[16];
    uint64_t family;
    rig_open(&r);
    for (unsigned i = 0; i < CAP * 2; i++) {
        snprintf(line, sizeof line, "%s with %s", word(a, i), word(b, i * 3));
        (void)place(&r, NOISY, line, &family);
    }
    uint64_t before = r.place.overflowed;
    r.now_ns += PATTERN_STALE_S * UINT64_C(1000000000);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "%s since %s", word(a, i + 20000), word(b, i + 40000));
        (void)place(&r, NOISY, line, &family);
    }
    assert_true(r.place.overflowed < before + 100); /* a few while there is less than the reserve */
    assert_true(patterns_evicted(r.patterns) >= 900);
    assert_true(patterns_count(r.patterns) <= CAP + 8);
    assert_int_equal(sum_of(r.patterns), CAP * 2 + 1000);
    rig_close(&r);
}

static void members_are_counted_with_their_family(void **state)
{
    (void)state;
    static const char *const names[] = {"alice", "bob",   "carol", "dave",
                                        "erin",  "frank", "grace", "heidi"};
    struct rig r;
    char line[128];
    uint64_t family,
        of_family = signer_sign_text((rig_open(&r), r.signer), SPAN("user 42 logged in"));
    struct pattern *e = NULL;
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            snprintf(line, sizeof line, "user %s logged in", names[i]);
            e = place(&r, QUIET, line, &family);
        }
    assert_true(family == of_family && e->key.signature == of_family);
    assert_true(span_eq(text_of(e), SPAN("user <*> logged in")));
    assert_int_equal(e->counts.received, 9); /* heidi made it one */
    (void)place(&r, QUIET, "user ivan logged in", &family);
    assert_int_equal(e->counts.received, 10);
    assert_int_equal(patterns_count(r.patterns), 7 + 1); /* heidi and ivan need none of their own */
    rig_close(&r);
}

/* With more new patterns than may be learned at once: those are learned when they come again. */
static void what_was_put_off_is_asked_again(void **state)
{
    (void)state;
    struct rig r;
    char line[64], room[16];
    uint64_t family;
    rig_open(&r);
    families_free(r.families);
    const struct families_opts families = {
        .weight = 8, .seed = 3, .budget = &r.budget, .learn_per_second = 5};
    assert_int_equal(families_new(&r.families, &families), 0);
    r.place.families = r.families;
    for (unsigned second = 0; second < 4; second++) {
        for (uint64_t i = 0; i < 16; i++) { /* twice in each second */
            snprintf(line, sizeof line, "user %s logged in", word(room, i % 8 + 1000));
            place(&r, QUIET, line, &family);
        }
        assert_int_equal(families_stats(r.families).signatures, second == 0 ? 5 : 8 + 1);
        r.now_ns += 1000000000;
    }
    place(&r, QUIET, "user 17 logged in", &family);
    uint64_t general = family;
    for (uint64_t i = 0; i < 8; i++) {
        snprintf(line, sizeof line, "user %s logged in", word(room, i + 1000));
        place(&r, QUIET, line, &family);
        assert_int_equal(family, general);
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_patterns_of_one_service_leave_the_others_theirs),
        cmocka_unit_test(overflow_says_how_its_lines_begin),
        cmocka_unit_test(what_is_stale_makes_room),
        cmocka_unit_test(members_are_counted_with_their_family),
        cmocka_unit_test(what_was_put_off_is_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
