#include "unit/test.h"

#include "config/options.h"

static void defaults(struct config *cfg)
{
    const struct config_input in = {.file = "/dev/null"};
    struct error err = {{0}};
    assert_row(config_load(cfg, &in, &err) == 0, "%s", err.text);
}

static void keys_are_found_and_stand_in_sections(void **state)
{
    (void)state;
    for (const struct option *o = config_options; o->key != NULL; o++) {
        assert_row(option_find(o->key) == o, "%s is there twice", o->key);
        for (const char *dot = strchr(o->key, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
            char section[128];
            size_t n = (size_t)(dot - o->key);
            snprintf(section, sizeof section, "%.*s", (int)n, o->key);
            assert_row(option_is_section(section), "%s", section);
            /* print-config opens each section once: its rows follow each other. */
            bool is_over = false;
            for (const struct option *next = o + 1; next->key != NULL; next++) {
                bool is_inside = strncmp(next->key, o->key, n + 1) == 0;
                assert_row(!is_inside || !is_over, "%s stands apart", next->key);
                is_over |= !is_inside;
            }
        }
    }
    static const char *const none[] = {"", "batch.", "batch.max_ag", "batch.max_age.x", "Mode"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        assert_row(option_find(none[i]) == NULL, "%s", none[i]);
        assert_row(!option_is_section(none[i]), "%s", none[i]);
    }
    assert_true(option_is_section("sampling.pattern_rates"));
    assert_false(option_is_section("sampling.keep"));
    assert_false(option_is_section("mode"));
}

/* A row is a value or has entries, and a shown one has all that the reference shows. */
static void rows_are_whole(void **state)
{
    (void)state;
    for (const struct option *o = config_options; o->key != NULL; o++) {
        bool is_value = o->kind->parse != NULL;
        assert_row(is_value == (o->kind->print != NULL), "%s", o->key);
        assert_row(is_value != (o->kind->print_entries != NULL || o->kind->set_entry != NULL), "%s",
                   o->key);
        assert_row(is_value || o->is_live || o->kind->is_inline,
                   "%s: config_adopt() cannot copy it", o->key);
        assert_row((o->fallback == NULL) == (o->help == NULL), "%s", o->key);
        assert_row(o->fallback != NULL || !is_value, "%s", o->key);
    }
}

static void set_number(struct config *cfg, const struct option *o, uint64_t number)
{
    char *at = (char *)cfg + o->offset;
    if (o->size == sizeof number)
        memcpy(at, &number, sizeof number);
    else
        memcpy(at, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
}

static uint64_t bound(const struct option *o, const char *text)
{
    union {
        uint64_t wide;
        uint32_t narrow;
    } number = {0};
    assert_row(o->kind->parse(&number, o->size, text) == NULL, "%s: %s", o->key, text);
    return o->size == sizeof number.wide ? number.wide : number.narrow;
}

static void expect(struct config *cfg, const struct option *o, uint64_t number, bool is_allowed)
{
    struct error err = {{0}};
    set_number(cfg, o, number);
    int rc = option_check_bounds(cfg, &err);
    assert_row((rc == 0) == is_allowed, "%s: %llu: %s", o->key, (unsigned long long)number,
               err.text);
    if (rc < 0) {
        char text[512];
        snprintf(text, sizeof text, "%s: must be %s", o->key, o->wanted);
        assert_string_equal(err.text, text);
    }
}

static void bounds_are_included_and_what_is_beyond_is_not(void **state)
{
    (void)state;
    unsigned bounded = 0;
    for (const struct option *o = config_options; o->key != NULL; o++) {
        struct config cfg;
        if (o->wanted == NULL)
            continue;
        bounded++;
        assert_true(o->kind == &value_bytes || o->kind == &value_millis || o->kind == &value_count);
        defaults(&cfg);
        uint64_t least = bound(o, o->least);
        expect(&cfg, o, least, true);
        if (least > 0)
            expect(&cfg, o, 0, o->or_zero);
        if (least > 1)
            expect(&cfg, o, least - 1, false);
        if (o->most != NULL) {
            expect(&cfg, o, bound(o, o->most), true);
            expect(&cfg, o, bound(o, o->most) + 1, false);
        } else {
            expect(&cfg, o, o->size == sizeof(uint64_t) ? UINT64_MAX : UINT32_MAX, true);
        }
        config_done(&cfg);
    }
    assert_true(bounded >= 30);
}

/* A reload takes what is live, and keeps and names the rest. */
static void a_reload_takes_what_is_live(void **state)
{
    (void)state;
    struct config now, next;
    unsigned live = 0, stale_count = 0;
    defaults(&now);
    for (const struct option *o = config_options; o->key != NULL; o++) {
        struct buf stale = {0};
        if (o->kind->parse == NULL)
            continue;
        defaults(&next);
        ((char *)&next)[o->offset] ^= 1;
        config_adopt(&next, &now, &stale);
        buf_append_byte(&stale, '\0');
        assert_row(strcmp((char *)stale.base, o->is_live ? "" : o->key) == 0, "%s: %s", o->key,
                   (char *)stale.base);
        bool is_taken = memcmp((char *)&next + o->offset, (char *)&now + o->offset, o->size) != 0;
        assert_row(is_taken == o->is_live, "%s", o->key);
        *(o->is_live ? &live : &stale_count) += 1;
        buf_done(&stale);
        config_done(&next);
    }
    assert_true(live > 20 && stale_count > 20);

    /* A shorter text is another one, and the same text is the same whatever was there before. */
    struct buf stale = {0};
    struct error err = {{0}};
    defaults(&next);
    assert_int_equal(config_set(&next, "spool.directory", "/a/longer/one", &err), 0);
    assert_int_equal(config_set(&next, "spool.directory", "/a", &err), 0);
    assert_int_equal(config_set(&now, "spool.directory", "/a", &err), 0);
    assert_int_equal(config_set(&next, "batch.max_age", "7s", &err), 0);
    assert_int_equal(config_set(&next, "queue.max_age", "7s", &err), 0);
    config_adopt(&next, &now, &stale);
    buf_append_byte(&stale, '\0');
    assert_string_equal((char *)stale.base, "batch.max_age, queue.max_age");
    buf_done(&stale);
    config_done(&next);
    config_done(&now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_and_stand_in_sections),
        cmocka_unit_test(rows_are_whole),
        cmocka_unit_test(bounds_are_included_and_what_is_beyond_is_not),
        cmocka_unit_test(a_reload_takes_what_is_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
