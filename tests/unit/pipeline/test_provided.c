/* Policies of another maker in the pipeline: what is dropped, changed, protected and refused. */
#include "unit/pipeline/rig.h"

#include "util/hash.h"

struct maker {
    int verdict; /* of records with the text "x"; others stay */
    struct span record, resource;
    unsigned asked, guarded;
};

static bool holds(struct span record, const char *text)
{
    return memmem(record.base, record.len, text, strlen(text)) != NULL;
}

static int on_apply(void *ctx, struct logs_group *g, struct span *record, bool is_protected)
{
    struct maker *m = ctx;
    m->asked++;
    m->guarded += is_protected;
    if (!holds(*record, "secret") || (is_protected && m->verdict == PROVIDED_DROPPED))
        return PROVIDED_SAME;
    if (m->verdict == PROVIDED_CHANGED) {
        *record = m->record;
        g->resource = m->resource;
    }
    return m->verdict;
}

static unsigned came_with_secret, came_changed;
static uint64_t last_hash;

static void on_seen(void *ctx, const struct rig_seen *s)
{
    (void)ctx;
    came_with_secret += holds(s->bytes, "secret");
    came_changed += holds(s->bytes, "clean");
    last_hash = s->group->resource_hash;
}

static void open_with(struct rig *r, struct maker *m, bool observe)
{
    came_with_secret = came_changed = 0;
    rig_init(r);
    r->opts.observe = observe;
    r->seen = on_seen;
    rig_open(r);
    pipeline_set_provider(r->pipeline, &(struct pipeline_provider){m, on_apply});
}

static void push(struct rig *r, uint8_t severity, const char *key)
{
    rig_push(
        r, &(struct rig_record){.body = "secret", .severity = severity, .key = key, .value = "v"});
    rig_push(r, &(struct rig_record){.body = "plain"});
}

static void dropped(void **state)
{
    (void)state;
    struct rig r;
    struct maker m = {.verdict = PROVIDED_DROPPED};
    open_with(&r, &m, false);
    push(&r, 9, NULL);
    push(&r, 17, NULL);            /* an error */
    push(&r, 9, "exception.type"); /* and what is one */
    assert_int_equal(m.asked, 6);
    assert_int_equal(m.guarded, 2);
    assert_int_equal(r.emitted, 5);
    assert_int_equal(came_with_secret, 2);
    pipeline_set_provider(r.pipeline, NULL);
    push(&r, 9, NULL);
    assert_int_equal(m.asked, 6);
    assert_int_equal(r.emitted, 7);
    rig_close(&r);
}

/* All that is behind sees the record as it was changed, and its Resource is another one. */
static void changed(void **state)
{
    (void)state;
    struct rig r;
    struct buf value = {0}, record = {0};
    wire_append_len(&value, 1, SPAN("clean"));
    wire_append_len(&record, 5, buf_span(&value)); /* body */
    struct maker m = {.verdict = PROVIDED_CHANGED,
                      .record = buf_span(&record),
                      .resource = SPAN("\x1a\x01u")}; /* schema_url */
    open_with(&r, &m, false);
    push(&r, 9, NULL);
    uint64_t plain = last_hash;
    rig_push(&r, &(struct rig_record){.body = "secret"});
    assert_int_equal(came_with_secret, 0);
    assert_int_equal(came_changed, 2);
    assert_int_not_equal(last_hash, plain);
    assert_int_equal(last_hash, hash64_seeded(m.resource, r.opts.seed));
    buf_done(&value);
    buf_done(&record);
    rig_close(&r);
}

/* An exception stays kept though a policy takes away what says so. */
static void an_error_stays_one(void **state)
{
    (void)state;
    struct rig r;
    struct buf value = {0}, record = {0};
    wire_append_len(&value, 1, SPAN("clean"));
    wire_append_varint(&record, 2, 9); /* severity_number */
    wire_append_len(&record, 5, buf_span(&value));
    struct maker m = {.verdict = PROVIDED_CHANGED, .record = buf_span(&record)};
    open_with(&r, &m, false);
    for (int i = 0; i < 20; i++)
        rig_push(&r, &(struct rig_record){.body = "secret", .key = "exception.type", .value = "v"});
    assert_int_equal(came_changed, 20);
    assert_int_equal(r.weight, 20);
    buf_done(&value);
    buf_done(&record);
    rig_close(&r);
}

static void observed(void **state)
{
    (void)state;
    struct rig r;
    struct maker m = {.verdict = PROVIDED_DROPPED};
    open_with(&r, &m, true);
    push(&r, 9, NULL);
    m.verdict = PROVIDED_CHANGED;
    push(&r, 9, NULL);
    assert_int_equal(r.emitted, 4);
    assert_int_equal(came_with_secret, 2);
    rig_close(&r);
}

/* Without memory the request is refused, and its client sends it again. */
static void refused(void **state)
{
    (void)state;
    struct rig r;
    struct maker m = {.verdict = ERR_NOMEM};
    uint32_t records;
    open_with(&r, &m, false);
    rig_begin(&r);
    rig_add(&r, &(struct rig_record){.body = "plain"});
    rig_add(&r, &(struct rig_record){.body = "secret"});
    rig_add(&r, &(struct rig_record){.body = "plain"});
    assert_int_equal(pipeline_push(r.pipeline, buf_span(&r.requests.bytes), &r.arena, &records),
                     ERR_NOMEM);
    assert_int_equal(r.emitted, 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped),  cmocka_unit_test(changed), cmocka_unit_test(an_error_stays_one),
        cmocka_unit_test(observed), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
