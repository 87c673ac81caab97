/* What is fed is found again: by step, by service, over a day, within its memory. */
#include "unit/test.h"

#include <stdlib.h>

#include "otlp/json_doc.h"
#include "telemetry/history.h"

#define START_NS (UINT64_C(1700000000) * 1000000000) /* at 20 s of a minute */
#define SECOND_NS UINT64_C(1000000000)
#define SERVICES 64

struct rig {
    struct budget budget;
    struct history *history;
    struct census census;
    struct census_service services[SERVICES];
    char names[SERVICES][16];
    uint64_t now_ns;
};

static void rig_open(struct rig *r, uint64_t limit)
{
    *r = (struct rig){.now_ns = START_NS};
    budget_init(&r->budget, limit);
    assert_int_equal(history_new(&r->history, &r->budget, r->now_ns), 0);
    r->census.services = r->services;
    r->census.services_held = 1;
    for (uint32_t i = 1; i < SERVICES; i++) {
        snprintf(r->names[i], sizeof r->names[i], "s%u", i);
        r->services[i].name = span_str(r->names[i]);
    }
}

static void rig_close(struct rig *r)
{
    history_free(r->history);
    assert_int_equal(r->budget.used, 0);
}

static void add(struct ledger_row *row, uint64_t received, uint64_t kept)
{
    row->received += received;
    row->received_bytes += received * 100;
    row->verdict[VERDICT_KEPT] += kept;
    row->kept_bytes += kept * 90;
    row->errors += received / 10;
}

static void count(struct rig *r, uint32_t service, uint64_t received, uint64_t kept)
{
    if (service >= r->census.services_held)
        r->census.services_held = service + 1;
    add(&r->census.total, received, kept);
    add(&r->services[service].row, received, kept);
}

static void feed(struct rig *r, uint64_t seconds)
{
    r->now_ns += seconds * SECOND_NS;
    history_feed(r->history, &r->census, r->now_ns);
}

/* ---- the page, read again ---------------------------------------------- */

struct page {
    struct buf text;
    struct json_doc *doc;
    struct json_node root;
};

static void page_open(struct page *p, struct rig *r, const struct history_view *view)
{
    *p = (struct page){.doc = NULL};
    struct json j = json_on(&p->text);
    json_begin(&j, NULL);
    history_write(r->history, view, &j);
    json_end(&j);
    assert_int_equal(p->text.err, 0);
    assert_int_equal(json_doc_new(&p->doc, buf_span(&p->text), NULL, &p->root), 0);
}

static void page_close(struct page *p)
{
    json_doc_free(p->doc);
    buf_done(&p->text);
}

/* The sum of an array; *count: how long it is; *last: its last element. */
static double sum_of(struct json_node list, uint32_t *count, double *last)
{
    struct json_each each = json_each(list);
    double sum = 0, one = 0;
    *count = 0;
    while (json_next(&each)) {
        assert_true(json_number(each.value, &one));
        sum += one;
        (*count)++;
    }
    *last = one;
    return sum;
}

static double total(struct page *p, const char *column)
{
    uint32_t count;
    double last;
    return sum_of(json_get(json_get(p->root, "total"), column), &count, &last);
}

static struct json_node service(struct page *p, const char *name)
{
    struct json_each each = json_each(json_get(p->root, "services"));
    while (json_next(&each))
        if (span_eq(json_string(json_get(each.value, "name")), span_str(name)))
            return each.value;
    return (struct json_node){0};
}

static double service_sum(struct page *p, const char *name, const char *column)
{
    uint32_t count;
    double last;
    return sum_of(json_get(service(p, name), column), &count, &last);
}

static const struct history_view hour = {SERIES_HOUR, 3600, {0}, false};
static const struct history_view day = {SERIES_DAY, 86400, {0}, false};

/* ---- tests ------------------------------------------------------------- */

static void differences_are_counted_in_their_step(void **state)
{
    (void)state;
    struct rig r;
    struct page p;
    uint32_t n;
    double last;
    rig_open(&r, 2 << 20);
    count(&r, 1, 50, 20);
    feed(&r, 10);
    count(&r, 1, 7, 3);
    count(&r, 2, 30, 0);
    r.census.total.fate[FATE_DELIVERED + 1] += 4;
    feed(&r, 10);
    page_open(&p, &r, &hour);
    assert_true(sum_of(json_get(json_get(p.root, "total"), "received"), &n, &last) == 87);
    assert_int_equal(n, 360);
    assert_true(last == 37);
    assert_true(total(&p, "kept") == 23 && total(&p, "errors") == 8 && total(&p, "lost") == 4);
    assert_true(total(&p, "received_bytes") == 8700 && total(&p, "kept_bytes") == 23 * 90);
    assert_true(service_sum(&p, "s1", "received") == 57);
    assert_true(service_sum(&p, "s2", "received") == 30);
    double from;
    assert_true(json_number(json_get(p.root, "from_unix_s"), &from));
    assert_true(from + 3600 == 1700000020.0); /* the end of the last step */
    page_close(&p);
    rig_close(&r);
}

static void an_hour_is_forgotten_and_a_day_is_not(void **state)
{
    (void)state;
    struct rig r;
    struct page p;
    rig_open(&r, 2 << 20);
    count(&r, 1, 1000, 10);
    feed(&r, 10);
    for (int i = 0; i < 370; i++) {
        count(&r, 1, 1, 1);
        feed(&r, 10);
    }
    page_open(&p, &r, &hour);
    assert_true(total(&p, "received") == 360);
    page_close(&p);
    page_open(&p, &r, &day);
    assert_true(total(&p, "received") == 1370);
    assert_true(service_sum(&p, "s1", "received") == 1370);
    page_close(&p);
    feed(&r, 86400);
    page_open(&p, &r, &day);
    assert_true(total(&p, "received") == 0);
    page_close(&p);
    struct history_sum sum = history_sum(r.history, SERIES_DAY);
    assert_true(sum.received == 0 && sum.seconds == 60); /* no census came in that day */
    rig_close(&r);
}

static void a_clock_that_goes_back_loses_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct page p;
    rig_open(&r, 2 << 20);
    count(&r, 1, 5, 5);
    feed(&r, 10);
    r.now_ns -= 3000 * SECOND_NS;
    count(&r, 1, 6, 6);
    feed(&r, 10);
    page_open(&p, &r, &hour);
    assert_true(total(&p, "received") == 11);
    page_close(&p);
    rig_close(&r);
}

/* Twenty have a place; a louder one takes that of the quietest, and sums stay. */
static void the_loudest_services_have_a_place(void **state)
{
    (void)state;
    struct rig r;
    struct page p;
    rig_open(&r, 4 << 20);
    for (int minute = 0; minute < 30; minute++) {
        for (uint32_t s = 1; s <= HISTORY_SERVICES + 5; s++)
            count(&r, s, s <= HISTORY_SERVICES ? 10 + s : 1, 1);
        if (minute >= 10)
            count(&r, HISTORY_SERVICES + 3, 5000, 1);
        feed(&r, 60);
    }
    page_open(&p, &r, &day);
    double sum = 0;
    for (uint32_t s = 1; s <= HISTORY_SERVICES + 5; s++)
        sum += service_sum(&p, r.names[s], "received");
    sum += service_sum(&p, "(other)", "received");
    assert_true(sum == total(&p, "received"));
    assert_true(service_sum(&p, r.names[HISTORY_SERVICES + 3], "received") >= 5000 * 19);
    assert_true(service_sum(&p, "s1", "received") == 0); /* the quietest of those with a place */
    struct json_each each = json_each(json_get(p.root, "services"));
    assert_true(json_next(&each)); /* by bytes */
    assert_true(span_eq(json_string(json_get(each.value, "name")), span_str("s23")));
    page_close(&p);
    rig_close(&r);
}

static void a_page_is_of_one_service_where_it_is_asked(void **state)
{
    (void)state;
    struct rig r;
    struct page p;
    rig_open(&r, 2 << 20);
    r.services[2].name = SPAN("");
    count(&r, 1, 5, 5);
    count(&r, 2, 6, 6);
    feed(&r, 10);
    const struct history_view view = {SERIES_HOUR, 900, SPAN(""), false};
    page_open(&p, &r, &view);
    struct json_each each = json_each(json_get(p.root, "services"));
    assert_true(json_next(&each));
    assert_int_equal(json_string(json_get(each.value, "name")).len, 0);
    assert_true(service_sum(&p, "", "received") == 6);
    assert_false(json_next(&each));
    double steps;
    assert_true(json_number(json_get(p.root, "steps"), &steps) && steps == 90);
    page_close(&p);
    rig_close(&r);
}

static void marks_are_a_list_of_the_newest(void **state)
{
    (void)state;
    struct rig r;
    struct page p;
    char text[300];
    rig_open(&r, 2 << 20);
    for (int i = 0; i < HISTORY_MARKS + 10; i++) {
        snprintf(text, sizeof text, "mark %d", i);
        history_mark(r.history, HISTORY_SURGE, START_NS, span_str(text));
    }
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    history_mark(r.history, HISTORY_POLICY, START_NS, span_str(text));
    page_open(&p, &r, &hour);
    struct json_each each = json_each(json_get(p.root, "marks"));
    int n = 0;
    struct json_node first = {0}, last = {0};
    for (; json_next(&each); n++) {
        first = n == 0 ? each.value : first;
        last = each.value;
    }
    assert_int_equal(n, HISTORY_MARKS);
    assert_true(span_eq(json_string(json_get(first, "text")), span_str("mark 11")));
    assert_true(span_eq(json_string(json_get(first, "kind")), span_str("surge")));
    assert_int_equal(json_string(json_get(last, "text")).len, HISTORY_TEXT_BYTES - 1);
    page_close(&p);
    rig_close(&r);
}

static void what_finds_no_room_is_left_out_and_counted(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 64 << 10);
    for (int i = 0; i < 100; i++) {
        for (uint32_t s = 1; s <= HISTORY_SERVICES; s++)
            count(&r, s, 5, 5);
        feed(&r, 10);
        assert_true(r.budget.used <= r.budget.limit);
    }
    assert_true(history_left_out(r.history) > 0);
    rig_close(&r);
}

/* All services for a day, within what history.memory is by default. */
static void a_full_day_fits(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2 << 20);
    for (int i = 0; i < 8700; i++) {
        for (uint32_t s = 1; s < HISTORY_SERVICES + 4; s++)
            count(&r, s, 5 + s, 5);
        feed(&r, 10);
    }
    assert_int_equal(history_left_out(r.history), 0);
    assert_true(r.budget.peak < (3 << 20) / 2);
    struct history_sum sum = history_sum(r.history, SERIES_DAY);
    assert_true(sum.seconds == 86400);
    rig_close(&r);
}

/* After a day of so many services: how many of 16,384 patterns have a spark. */
static uint32_t sparks_beside(uint32_t services)
{
    enum { PATTERNS = 16384 };
    static struct census_pattern patterns[PATTERNS];
    struct rig r;
    uint32_t count_of = 0;
    rig_open(&r, 2 << 20);
    for (int i = 0; i < 8700; i++) {
        for (uint32_t s = 1; s <= services; s++)
            count(&r, s, 5 + s, 5);
        feed(&r, 10);
    }
    for (uint32_t i = 0; i < PATTERNS; i++)
        patterns[i] = (struct census_pattern){
            .number = i, .first_seen_ns = START_NS + i, .counts = {.received = 20}};
    r.census.patterns = patterns;
    r.census.pattern_count = PATTERNS;
    feed(&r, 10);
    for (uint32_t i = 0; i < PATTERNS; i++) {
        struct spark_view v;
        count_of += sparks_of(history_sparks(r.history), &patterns[i], &v) && v.hour == 20;
    }
    assert_true(r.budget.used <= r.budget.limit);
    assert_int_equal(history_left_out(r.history), 0);
    rig_close(&r);
    return count_of;
}

static void sparks_have_what_series_leave(void **state)
{
    (void)state;
    assert_int_equal(sparks_beside(1), 16384);
    uint32_t beside = sparks_beside(HISTORY_SERVICES);
    print_message("%u patterns have a spark beside %u services\n", beside, HISTORY_SERVICES);
    assert_in_range(beside, 4800, 16384);
}

/* ---- over a restart ---------------------------------------------------- */

static void a_saved_history_goes_on(void **state)
{
    (void)state;
    struct rig r, s;
    struct page p;
    struct buf text = {0};
    struct census_pattern pattern = {.key = {.signature = 5, .service = 1, .level = LEVEL_INFO},
                                     .first_seen_ns = START_NS};
    rig_open(&r, 2 << 20);
    r.census.patterns = &pattern;
    r.census.pattern_count = 1;
    for (int i = 0; i < 100; i++) {
        count(&r, 1, 7, 3);
        count(&r, 2, 1, 1);
        pattern.counts.received += 7;
        feed(&r, 60);
    }
    history_mark(r.history, HISTORY_SURGE, r.now_ns, SPAN("a surge"));
    history_save(r.history, &r.census, &text);
    assert_int_equal(text.err, 0);
    /* Another process, two minutes later, with other numbers of services. */
    rig_open(&s, 2 << 20);
    s.now_ns = r.now_ns + 120 * SECOND_NS;
    s.services[2].name = r.services[1].name;
    s.services[1].name = r.services[2].name;
    s.census.services_held = 3;
    struct census_pattern mine = pattern;
    mine.counts.received = 0;
    mine.key.service = 2;
    s.census.patterns = &mine;
    s.census.pattern_count = 1;
    assert_int_equal(history_restore(s.history, &s.census, buf_span(&text), s.now_ns), 0);
    count(&s, 2, 10, 10);
    mine.counts.received = 10;
    feed(&s, 10);
    page_open(&p, &s, &day);
    assert_true(total(&p, "received") == 810 && total(&p, "kept") == 410);
    assert_true(service_sum(&p, "s1", "received") == 710);
    assert_true(service_sum(&p, "s2", "received") == 100);
    struct json_each each = json_each(json_get(p.root, "marks"));
    assert_true(json_next(&each));
    assert_true(span_eq(json_string(json_get(each.value, "text")), SPAN("a surge")));
    page_close(&p);
    struct spark_view v;
    assert_true(sparks_of(history_sparks(s.history), &mine, &v));
    assert_true(v.minutes[59] == 10 && v.minutes[56] == 7);
    assert_int_equal(history_since_s(s.history), START_NS / SECOND_NS);
    /* Two minutes without a process are not counted as time. */
    assert_true(history_sum(s.history, SERIES_DAY).seconds >= 100 * 60 &&
                history_sum(s.history, SERIES_DAY).seconds <= 102 * 60);
    assert_int_equal(history_month(s.history).received, 810);
    /* A history of the future is left. */
    struct rig past;
    rig_open(&past, 2 << 20);
    assert_int_equal(history_restore(past.history, &past.census, buf_span(&text), START_NS), 0);
    assert_int_equal(history_sum(past.history, SERIES_DAY).received, 0);
    rig_close(&past);
    rig_close(&s);
    /* Cut anywhere it is refused, and does no harm. */
    for (size_t n = 0; n < text.len; n += n < 3000 ? 7 : 101) {
        struct rig cut;
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, text.base, n);
        rig_open(&cut, 2 << 20);
        assert_int_equal(history_restore(cut.history, &cut.census, span_of(copy, n), r.now_ns),
                         ERR_MALFORMED);
        rig_close(&cut);
        free(copy);
    }
    buf_done(&text);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_are_counted_in_their_step),
        cmocka_unit_test(an_hour_is_forgotten_and_a_day_is_not),
        cmocka_unit_test(a_clock_that_goes_back_loses_nothing),
        cmocka_unit_test(the_loudest_services_have_a_place),
        cmocka_unit_test(a_page_is_of_one_service_where_it_is_asked),
        cmocka_unit_test(marks_are_a_list_of_the_newest),
        cmocka_unit_test(what_finds_no_room_is_left_out_and_counted),
        cmocka_unit_test(a_full_day_fits),
        cmocka_unit_test(sparks_have_what_series_leave),
        cmocka_unit_test(a_saved_history_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
