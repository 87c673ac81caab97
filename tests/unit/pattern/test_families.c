#include "unit/test.h"

#include "pattern/families.h"
#include "pattern/signature.h"
#include "util/rng.h"

#define RIG_WEIGHT 6

/* Families behind a signer, as the pipeline has them. */
struct rig {
    struct budget budget;
    struct families *families;
    struct signer *signer;
};

static void rig_open_with(struct rig *r, uint32_t weight, uint32_t signatures, uint32_t holes)
{
    *r = (struct rig){0};
    budget_init(&r->budget, 16 << 20);
    const struct families_opts opts = {weight, signatures, holes, 5, &r->budget};
    assert_int_equal(families_new(&r->families, &opts), 0);
    assert_int_equal(signer_new(&r->signer), 0);
}

static void rig_open(struct rig *r)
{
    rig_open_with(r, RIG_WEIGHT, 0, 0);
}

static void rig_close(struct rig *r)
{
    families_free(r->families);
    signer_free(r->signer);
    assert_int_equal(r->budget.used, 0);
}

static uint64_t id_of(struct rig *r, const char *line)
{
    return signer_sign_text(r->signer, span_str(line));
}

static uint64_t add(struct rig *r, const char *line)
{
    uint64_t id = id_of(r, line);
    return families_add(r->families, id, signer_identity(r->signer), 1700000000000000000u);
}

static uint64_t resolve(struct rig *r, const char *line)
{
    return families_resolve(r->families, id_of(r, line));
}

static const char *const names[] = {
    "alice", "bob",   "carol", "dave", "erin", "frank",
    "grace", "heidi", "ivan",  "judy", "ken",  "lena",
};

/* Add the text once for each of the first n names, in place of its %s. */
static void add_names(struct rig *r, const char *format, unsigned n)
{
    char line[1024];
    for (unsigned i = 0; i < n; i++) {
        snprintf(line, sizeof line, "%.*s%s%s", (int)(strstr(format, "%s") - format), format,
                 names[i], strstr(format, "%s") + 2);
        add(r, line);
    }
}

static void enough_words_in_one_place_make_a_variable(void **state)
{
    (void)state;
    static const struct {
        const char *format, *first, *general; /* general: the same line with a variable there */
        unsigned needs;
    } rows[] = {
        {"user %s logged in", "user alice logged in", "user 17 logged in", 6},
        {"cache miss for key (%s)", "cache miss for key (alice)", "cache miss for key (17)", 6},
        {"the last word is %s", "the last word is alice", "the last word is 17", 6},
        {"%s has left the room", "alice has left the room", "17 has left the room", 12},
        {"job %sQueue is idle", "job aliceQueue is idle", "job 17 is idle", 3}, /* weighs 2 each */
        {"mount %s/x is full", "mount alice/x is full", "mount 17 is full", 3},
        {"rows 10 %s 20 seen now", "rows 10 alice 20 seen now", "rows 10 20 seen now",
         6}, /* joined */
        {"peer 10 (%s) said no again", "peer 10 (alice) said no again", "peer 10 said no again", 6},
        {"{\"level\":\"info\",\"msg\":\"user %s is back\"}",
         "{\"level\":\"info\",\"msg\":\"user alice is back\"}",
         "{\"level\":\"info\",\"msg\":\"user 17 is back\"}", 6},
        {"user %s logged in\nE: x\n\tat a.b.C(D:1)", "user alice logged in\nE: x\n\tat a.b.C(D:1)",
         "user 17 logged in\nE: x\n\tat a.b.C(D:2)", 6},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        rig_open(&r);
        add_names(&r, rows[i].format, rows[i].needs - 1);
        assert_row(resolve(&r, rows[i].first) == id_of(&r, rows[i].first), "'%s' early",
                   rows[i].format);
        uint32_t before = families_generation(r.families);
        add_names(&r, rows[i].format, rows[i].needs);
        assert_row(families_generation(r.families) != before, "'%s'", rows[i].format);
        assert_row(resolve(&r, rows[i].first) == id_of(&r, rows[i].general), "'%s'",
                   rows[i].format);
        rig_close(&r);
    }
}

static void some_are_never_merged(void **state)
{
    (void)state;
    static const char *const formats[] = {
        "hello %s",                                                /* two words */
        "a b c d e f g h i j k l m n o p q r s t u v w x %s",      /* 25 words */
        "{\"error.type\":\"%s\",\"msg\":\"disk is almost full\"}", /* what is no message */
        "it went wrong\n%sError: cannot\n\tat a.b.C.d(E:1)",       /* the trace's type ... */
        "it went wrong\nError: cannot\n\tat a.b.%s.run(E:1)",      /* ... and its functions */
    };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct rig r;
        rig_open(&r);
        add_names(&r, formats[i], ARRAY_LEN(names));
        assert_row(families_stats(r.families).aliases == 0, "'%s'", formats[i]);
        rig_close(&r);
    }
}

static void what_producers_name_is_never_merged(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char text[64];
        snprintf(text, sizeof text, "user %s logged in", names[i]);
        struct sign_input in = {.event_name = span_str(text)};
        uint64_t id = signer_sign(r.signer, &in);
        assert_int_equal(families_add(r.families, id, signer_identity(r.signer), 0), id);
    }
    assert_int_equal(families_stats(r.families).aliases, 0);
    rig_close(&r);
}

/* A quoted word weighs 2: two free words in one statement are a variable twice as soon. */
static void quoted_words_weigh_more(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        size_t enough; /* at the weight of the rig */
    } rows[] = {
        {"the file %s was not found", RIG_WEIGHT},
        {"the file '%s' was not found", (RIG_WEIGHT + 1) / 2},
        {"the file \"%s\" was not found", (RIG_WEIGHT + 1) / 2},
        {"the file '%s\" was not found", RIG_WEIGHT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        rig_open(&r);
        add_names(&r, rows[i].format, rows[i].enough - 1);
        assert_row(families_stats(r.families).aliases == 0, "%s", rows[i].format);
        add_names(&r, rows[i].format, rows[i].enough);
        assert_row(families_stats(r.families).aliases > 0, "%s", rows[i].format);
        rig_close(&r);
    }
}

static void two_variables_in_two_steps(void **state)
{
    (void)state;
    struct rig r;
    char line[128];
    rig_open(&r);
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < 6; k++) {
            snprintf(line, sizeof line, "user %s moved from room %s to hall", names[i],
                     names[k + 6]);
            add(&r, line);
        }
    uint64_t both = id_of(&r, "user 1 moved from room 2 to hall");
    assert_int_equal(resolve(&r, "user alice moved from room ken to hall"), both);
    assert_int_equal(resolve(&r, "user 1 moved from room ken to hall"), both); /* a link */
    assert_int_equal(resolve(&r, "user alice moved from room 2 to hall"), both);
    assert_int_equal(add(&r, "user zoe moved from room ken to hall"),
                     both); /* new, and known at once */
    /* In a room that nobody has seen before, six names must be seen again: nothing says that it
     * is a room. The place of the name in the general template is a variable, not a word. */
    assert_int_equal(add(&r, "user zoe moved from room pantry to hall"),
                     id_of(&r, "user zoe moved from room pantry to hall"));
    assert_int_equal(add(&r, "user 9 moved from room pantry to hall"), both);
    rig_close(&r);
}

struct seen_alias {
    struct rig *rig;
    unsigned count;
    uint64_t to;
    char text[FAMILY_TEMPLATE_BYTES + 1];
};

static void see_alias(void *ctx, const struct family_alias *a)
{
    struct seen_alias *s = ctx;
    s->count++;
    assert_true(a->from != a->to);
    assert_int_equal(a->since_ns, 1700000000000000000u);
    assert_int_equal(families_resolve(s->rig->families, a->from), a->to);
    s->to = a->to;
    snprintf(s->text, sizeof s->text, "%.*s", (int)a->template_text.len,
             (const char *)a->template_text.base);
}

static void aliases_are_told_with_their_template(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    add_names(&r, "user %s logged in", 9);
    struct seen_alias seen = {.rig = &r};
    families_each_alias(r.families, see_alias, &seen);
    assert_int_equal(seen.count, 9);
    assert_int_equal(seen.to, id_of(&r, "user 1 logged in"));
    assert_string_equal(seen.text, "user <*> logged in");
    assert_int_equal(families_stats(r.families).aliases, 9);
    rig_close(&r);
}

static void what_is_known_changes_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    add_names(&r, "user %s logged in", 5);
    for (int i = 0; i < 50; i++)
        add(&r, "user alice logged in"); /* the same word again weighs nothing */
    assert_int_equal(resolve(&r, "user alice logged in"), id_of(&r, "user alice logged in"));
    add_names(&r, "user %s logged in", 6);
    uint32_t generation = families_generation(r.families);
    uint64_t used = r.budget.used;
    add_names(&r, "user %s logged in", 6);
    add(&r, "user 17 logged in");
    assert_int_equal(families_generation(r.families), generation);
    assert_int_equal(r.budget.used, used);
    rig_close(&r);
}

/* ---- the order --------------------------------------------------------- */

#define LINES 600
#define ORDERS 12

/* A line of a few shapes whose words come from lists of several sizes, so that some
 * places become variables, some do not, and some lines belong to several keys. */
static void make_line(struct rng *rng, char line[128])
{
    static const char *const verbs[] = {"opened", "closed", "moved", "lost"};
    static const char *const things[] = {"door",     "window",  "cache-a", "cache-b",
                                         "diskFull", "queue_x", "shelf",   "lamp"};
    const char *who = names[rng_upto(rng, 11)], *verb = verbs[rng_upto(rng, 3)];
    const char *thing = things[rng_upto(rng, 7)], *other = things[rng_upto(rng, 7)];
    switch (rng_upto(rng, 3)) {
    case 0:
        snprintf(line, 128, "%s %s the %s", who, verb, thing);
        break;
    case 1:
        snprintf(line, 128, "the %s was %s by %s", thing, verb, who);
        break;
    case 2:
        snprintf(line, 128, "%s, %s and %s: %s now", thing, other, who, verb);
        break;
    default:
        snprintf(line, 128, "moved %s (%s) to %s/%s at 5", thing, other, who, verb);
    }
}

static void the_order_does_not_matter(void **state)
{
    (void)state;
    static char lines[LINES][128];
    uint64_t family[LINES];
    struct rng rng;
    rng.state = 11;
    for (size_t i = 0; i < LINES; i++)
        make_line(&rng, lines[i]);
    for (unsigned order = 0; order < ORDERS; order++) {
        uint32_t turn[LINES];
        struct rig r;
        rig_open(&r);
        for (uint32_t i = 0; i < LINES; i++)
            turn[i] = i;
        for (uint32_t i = LINES - 1; order > 0 && i > 0; i--) {
            uint32_t k = (uint32_t)rng_upto(&rng, i), was = turn[i];
            turn[i] = turn[k];
            turn[k] = was;
        }
        for (size_t i = 0; i < LINES; i++)
            add(&r, lines[turn[i]]);
        assert_true(families_stats(r.families).aliases > 100); /* or this proves nothing */
        for (size_t i = 0; i < LINES; i++) {
            uint64_t now = resolve(&r, lines[i]);
            assert_row(order == 0 || now == family[i], "order %u, '%s'", order, lines[i]);
            family[i] = now;
        }
        rig_close(&r);
    }
}

/* ---- bounds ------------------------------------------------------------ */

static void random_line(struct rng *rng, char line[128])
{
    size_t len = 0;
    for (int w = 0; w < 8; w++) {
        for (int i = 0; i < 6; i++)
            line[len++] = (char)('g' + rng_upto(rng, 19));
        line[len++] = ' ';
    }
    line[len - 1] = '\0';
}

static void a_flood_does_not_grow_it(void **state)
{
    (void)state;
    struct rig r;
    struct rng rng;
    char line[128];
    rng.state = 3;
    rig_open_with(&r, 6, 512, 2048);
    for (int i = 0; i < 3000; i++) {
        random_line(&rng, line);
        add(&r, line);
    }
    struct families_stats s = families_stats(r.families);
    assert_int_equal(s.signatures, 512);
    assert_int_equal(s.holes, 2048);
    assert_int_equal(s.aliases, 0);
    assert_int_equal(s.evicted, 3000 - 512 + 3000 * 8 - 2048);
    uint64_t used = r.budget.used;
    for (int i = 0; i < 3000; i++) {
        random_line(&rng, line);
        add(&r, line);
    }
    assert_int_equal(r.budget.used, used);
    rig_close(&r);
}

static void what_is_used_outlives_a_flood(void **state)
{
    (void)state;
    struct rig r;
    struct rng rng;
    char line[128];
    rng.state = 4;
    rig_open_with(&r, 6, 256, 1024);
    add_names(&r, "user %s logged in", 6);
    for (int i = 0; i < 5000; i++) {
        random_line(&rng, line);
        add(&r, line);
        if (i % 20 == 0)
            add(&r, "user bob logged in");
    }
    uint64_t family = id_of(&r, "user 1 logged in");
    assert_int_equal(resolve(&r, "user bob logged in"), family);
    rig_close(&r);
}

static void what_was_forgotten_is_learned_again(void **state)
{
    (void)state;
    struct rig r;
    struct rng rng;
    char line[128];
    rng.state = 5;
    rig_open_with(&r, 6, 64, 256);
    for (int round = 0; round < 3; round++) {
        add_names(&r, "user %s logged in", 6);
        assert_int_equal(resolve(&r, "user alice logged in"), id_of(&r, "user 1 logged in"));
        for (int i = 0; i < 2000; i++) {
            random_line(&rng, line);
            add(&r, line);
        }
        assert_int_equal(resolve(&r, "user alice logged in"), id_of(&r, "user alice logged in"));
        assert_int_equal(families_stats(r.families).aliases, 0);
    }
    rig_close(&r);
}

/* Every kind of line into tables much too small: nothing but forgetting may happen. */
static void tiny_tables(void **state)
{
    (void)state;
    for (uint32_t size = 1; size < 12; size++) {
        struct rig r;
        struct rng rng;
        char line[128];
        rng.state = size;
        rig_open_with(&r, 2, size, size * 3);
        for (int i = 0; i < 3000; i++) {
            make_line(&rng, line);
            add(&r, line);
            assert_true(families_stats(r.families).signatures <= size);
            assert_true(families_stats(r.families).aliases <= size);
        }
        rig_close(&r);
    }
}

/* At each limit of memory it works as far as that goes, and gives everything back. */
static void memory_that_is_refused(void **state)
{
    (void)state;
    bool merged = false, unmerged = false;
    struct signer *signer;
    assert_int_equal(signer_new(&signer), 0);
    for (uint64_t limit = 0; limit < 400000; limit += 3001) {
        struct rig r = {.signer = signer};
        struct rng rng;
        char line[128];
        rng.state = 1;
        budget_init(&r.budget, limit);
        const struct families_opts opts = {6, 1024, 4096, 5, &r.budget};
        int rc = families_new(&r.families, &opts);
        if (rc < 0) {
            assert_int_equal(rc, ERR_NOMEM);
            assert_int_equal(r.budget.used, 0);
            continue;
        }
        for (int i = 0; i < 400; i++) {
            make_line(&rng, line);
            add(&r, line);
        }
        add_names(&r, "user %s logged in", 6);
        bool is_merged = resolve(&r, "user alice logged in") != id_of(&r, "user alice logged in");
        merged |= is_merged;
        unmerged |= !is_merged;
        families_free(r.families);
        assert_int_equal(r.budget.used, 0);
    }
    assert_true(merged && unmerged); /* both sides of the limit were seen */
    signer_free(signer);
}

/* Identity bytes that no line gives: the separators' own bytes, nothing, too much. */
static void hostile_identities(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x01, 0x02, 0x02, 0x04, 0x05, 0x06, 0x07,
                                    'a',  'b',  ' ',  '(',  ')',  '-',  0xc3};
    static uint8_t big[FAMILY_IDENTITY_BYTES + 1];
    struct rig r;
    struct rng rng;
    rng.state = 9;
    rig_open_with(&r, 2, 300, 900);
    for (int i = 0; i < 20000; i++) {
        uint8_t identity[80];
        size_t len = 0, most = rng_upto(&rng, sizeof identity - 8);
        if (rng_upto(&rng, 3) == 0)
            for (; len < 5; len++)
                identity[len] = (uint8_t) "json\x02"[len];
        while (len < most)
            identity[len++] = bytes[rng_upto(&rng, sizeof bytes - 1)];
        /* Few ids for many identities: as if hashes had been forged, rings included. */
        families_add(r.families, rng_upto(&rng, 400), span_of(identity, len), 0);
    }
    memset(big, 'x', sizeof big);
    assert_int_equal(families_add(r.families, 5000, span_of(big, sizeof big), 0), 5000);
    assert_int_equal(families_add(r.families, 5001, (struct span){0}, 0), 5001);
    rig_close(&r);
}

/* ---- learning in bounds ------------------------------------------------- */

enum { LEARN = 40 };
#define SECOND_NS UINT64_C(1000000000)

static void rig_open_limited(struct rig *r, uint32_t per_second)
{
    *r = (struct rig){0};
    budget_init(&r->budget, 16 << 20);
    const struct families_opts opts = {
        .weight = 6, .seed = 5, .budget = &r->budget, .learn_per_second = per_second};
    assert_int_equal(families_new(&r->families, &opts), 0);
    assert_int_equal(signer_new(&r->signer), 0);
}

static uint64_t add_at(struct rig *r, const char *line, uint64_t unix_ns)
{
    uint64_t id = id_of(r, line);
    return families_add(r->families, id, signer_identity(r->signer), unix_ns);
}

static void so_many_are_learned_in_a_second(void **state)
{
    (void)state;
    struct rig r;
    struct rng rng;
    char line[128];
    rng.state = 11;
    rig_open_limited(&r, LEARN);
    for (unsigned second = 1; second <= 5; second++)
        for (int i = 0; i < 1000; i++) {
            random_line(&rng, line);
            add_at(&r, line, second * SECOND_NS);
            assert_int_equal(families_put_off(r.families), i >= LEARN);
            assert_int_equal(families_stats(r.families).signatures,
                             LEARN * (second - 1) + (i < LEARN ? (unsigned)i + 1 : LEARN));
        }
    assert_int_equal(families_stats(r.families).put_off, 5 * (1000 - LEARN));
    rig_close(&r);
}

/* Patterns that could never merge cost nothing of it. */
static void what_merges_with_nothing_is_not_put_off(void **state)
{
    (void)state;
    struct rig r;
    char line[64];
    rig_open_limited(&r, LEARN);
    for (int i = 0; i < 10 * LEARN; i++) {
        snprintf(line, sizeof line, "hello %c%c", 'a' + i % 20, 'b' + i / 20);
        add_at(&r, line, SECOND_NS);
        assert_false(families_put_off(r.families));
    }
    rig_close(&r);
}

/* The rest of a family is known by it, learned or not; in the first place, the last and
 * between them, behind a message's context and before a trace. */
static void a_family_is_found_without_learning(void **state)
{
    (void)state;
    static const struct {
        const char *format, *general;
    } rows[] = {
        {"user %s logged in", "user 17 logged in"},
        {"%s has left the room", "17 has left the room"},
        {"the last word is %s", "the last word is 17"},
        {"{\"level\":\"info\",\"msg\":\"user %s is back\"}",
         "{\"level\":\"info\",\"msg\":\"user 17 is back\"}"},
        {"{\"level\":\"info\",\"msg\":\"%s is back again\"}",
         "{\"level\":\"info\",\"msg\":\"17 is back again\"}"},
        {"user %s logged in\nE: x\n\tat a.b.C(D:1)", "user 17 logged in\nE: x\n\tat a.b.C(D:2)"},
        {"it was all for %s\nE: x\n\tat a.b.C(D:1)", "it was all for 17\nE: x\n\tat a.b.C(D:2)"},
    };
    static const char *const others[] = {"mallory", "nina", "oscar", "peggy"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        struct rng rng;
        char line[256];
        rng.state = 12 + i;
        rig_open_limited(&r, LEARN);
        add_names(&r, rows[i].format, ARRAY_LEN(names)); /* at 1.7e18 ns */
        for (int k = 0; k < 2 * LEARN; k++) {
            random_line(&rng, line);
            add(&r, line);
        }
        assert_true(families_put_off(r.families));
        struct families_stats before = families_stats(r.families);
        for (size_t k = 0; k < ARRAY_LEN(others); k++) {
            const char *hole = strstr(rows[i].format, "%s");
            snprintf(line, sizeof line, "%.*s%s%s", (int)(hole - rows[i].format), rows[i].format,
                     others[k], hole + 2);
            assert_row(add(&r, line) == id_of(&r, rows[i].general), "'%s'", line);
            assert_true(families_put_off(r.families));
        }
        assert_int_equal(families_stats(r.families).signatures, before.signatures);
        rig_close(&r);
    }
}

/* Whatever is put off is learned in the end, if it is seen again, and to the same families. */
static void in_the_end_all_is_learned(void **state)
{
    (void)state;
    struct rig all, some;
    struct rng rng;
    static char lines[400][128];
    rng.state = 13;
    rig_open(&all);
    rig_open_limited(&some, LEARN);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        make_line(&rng, lines[i]);
        add(&all, lines[i]);
    }
    bool put_off = true;
    for (unsigned second = 1; put_off; second++) {
        assert_true(second < 100);
        put_off = false;
        for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
            add_at(&some, lines[i], second * SECOND_NS);
            put_off |= families_put_off(some.families);
        }
    }
    assert_true(families_stats(all.families).aliases > 50);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_row(resolve(&some, lines[i]) == resolve(&all, lines[i]), "'%s'", lines[i]);
    rig_close(&all);
    rig_close(&some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enough_words_in_one_place_make_a_variable),
        cmocka_unit_test(some_are_never_merged),
        cmocka_unit_test(what_producers_name_is_never_merged),
        cmocka_unit_test(quoted_words_weigh_more),
        cmocka_unit_test(two_variables_in_two_steps),
        cmocka_unit_test(aliases_are_told_with_their_template),
        cmocka_unit_test(what_is_known_changes_nothing),
        cmocka_unit_test(the_order_does_not_matter),
        cmocka_unit_test(a_flood_does_not_grow_it),
        cmocka_unit_test(what_is_used_outlives_a_flood),
        cmocka_unit_test(what_was_forgotten_is_learned_again),
        cmocka_unit_test(tiny_tables),
        cmocka_unit_test(memory_that_is_refused),
        cmocka_unit_test(hostile_identities),
        cmocka_unit_test(so_many_are_learned_in_a_second),
        cmocka_unit_test(what_merges_with_nothing_is_not_put_off),
        cmocka_unit_test(a_family_is_found_without_learning),
        cmocka_unit_test(in_the_end_all_is_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
