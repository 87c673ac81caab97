#include "unit/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "policy/file.h"
#include "unit/otlp/pb.h"
#include "unit/pipeline/inside.h"

#define SWAPS 1000

struct rig {
    char dir[64];
    uv_loop_t loop;
    struct clock_fake clock;
    struct rules *base;
    struct policy_file *file;
    struct pipeline *pipeline;
    struct arena arena;
    unsigned installs;
    int64_t version;
    uint64_t emitted;
    uint32_t poll_ms;
};

static const char *path_of(const struct rig *r, const char *name)
{
    static char path[4][128];
    static unsigned at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", r->dir, name);
    return path[at];
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0, true);
    assert_int_equal(fclose(f), 0);
}

static void replace(const struct rig *r, const char *text)
{
    write_file(path_of(r, "new"), text);
    assert_int_equal(rename(path_of(r, "new"), path_of(r, "policy")), 0);
}

static void on_install(void *ctx, const struct rules *rules)
{
    struct rig *r = ctx;
    r->installs++;
    r->version = rules_version(rules);
    if (r->pipeline != NULL)
        pipeline_set_common_rules(r->pipeline, rules);
}

static int rig_open(struct rig *r, struct error *err)
{
    struct policy_file_opts opts = {
        .path = path_of(r, "policy"),
        .clock = &r->clock.clock,
        .poll_ms = r->poll_ms,
        .visit = config_visit_yaml,
        .base = r->base,
        .install = on_install,
        .ctx = r,
    };
    return policy_file_open(&r->file, &r->loop, &opts, err);
}

static void rig_init(struct rig *r)
{
    *r = (struct rig){.dir = "/tmp/lipservice-policy-XXXXXX"};
    struct diag_opts quiet = {.level = DIAG_ERROR};
    diag_setup(&quiet);
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(uv_loop_init(&r->loop), 0);
    clock_fake_init(&r->clock, 1000, 1000);
    assert_int_equal(rules_new(&r->base), 0);
}

static void rig_done(struct rig *r)
{
    policy_file_close(r->file);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    rules_unref(r->base);
    const char *const names[] = {"policy",   "new",    "..data/policy", "a/policy",
                                 "b/policy", "..data", "..tmp"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(path_of(r, names[i]));
    rmdir(path_of(r, "a"));
    rmdir(path_of(r, "b"));
    assert_int_equal(rmdir(r->dir), 0);
}

static void what_is_a_policy(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said; /* said NULL: it is one */
        double info;             /* its rate */
        unsigned foreign;
    } rows[] = {
        {"global_rate: 0.5\n", NULL, 0.5, 0},
        {"# by hand\nseverity_rates:\n  info: 0.25\n  Warning: 1\nversion: 3\n", NULL, 0.25, 0},
        {"{\"global_rate\": 1, \"severity_rates\": {\"INFO\": 2e-1, \"ERROR\": 1.0}, "
         "\"anomaly_boost\": 3.0,\n"
         "\t\"pattern_rates\": {\"192e2189dedd759b686b29a872987cc1\": 0.01, "
         "\"lps1:00000000000000aa\": 0},\n"
         " \"reasoning\": \"a\\/b \\\\ud83d \\ud83d\\ude00 \\u00fc\", \"llm_model\": null, "
         "\"generated_by\": \"x\", \"version\": 4}",
         NULL, 0.2, 1},
        {"{global_rate: 1, severity_rates: {INFO: 0}}", NULL, 0, 0},
        {"", ":1:1: a map", 0, 0},
        {"- 1\n", ":1:1: a map", 0, 0},
        {"version: 3\n", ": policy: neither global_rate", 0, 0},
        {"global_rate: 0.5\nseverity_rates:\n  INFO: 1.5\n",
         ":3:9: severity_rates.INFO: a rate is a number from 0 to 1", 0, 0},
        {"global_rate: .nan\n", ":1:14: global_rate: a rate", 0, 0},
        {"global_rate: \"1\"\n", ":1:14: global_rate: a rate", 0, 0},
        {"global_rate: 1-1\n", ":1:14: global_rate: a rate", 0, 0},
        {"global_rate: 1\nseverity_rates: {LOUD: 1}\n",
         ":2:24: severity_rates.LOUD: no such severity: one of TRACE", 0, 0},
        {"severity_rates: {ERROR: 0.9}\n", ":1:25: severity_rates.ERROR: errors are always kept", 0,
         0},
        {"severity_rates: {CRITICAL: 0}\n",
         ":1:28: severity_rates.CRITICAL: errors are always kept", 0, 0},
        {"global_rate: 1\npattern_rates: {lps1:12: 0.5}\n",
         ":2:26: pattern_rates.lps1:12: not a pattern id", 0, 0},
        {"global_rate: 1\nseverity_rate: {}\n", ":2:1: severity_rate: no such member", 0, 0},
        {"global_rate: 1\nsampled: 1\n", ":2:10: sampled: no such member", 0, 0},
        {"global_rate: 1\nglobal_rate: 0\n", ":2:1: this key is here twice", 0, 0},
        {"global_rate: 1\nanomaly_boost: 0.5\n", ":2:16: anomaly_boost: a factor", 0, 0},
        {"global_rate: 1\nversion: 1.5\n", ":2:10: version: a version", 0, 0},
        {"global_rate: 1\nseverity_rates: [1]\n", ":2:1: severity_rates: an object", 0, 0},
        {"{\"global_rate\": 1", ":1:", 0, 0},
        {"global_rate: 1\n  x: [\n", ":2:", 0, 0},
        {"{\"global_rate\": 1, \"reasoning\": \"\\ud83d\"}", ":1:", 0, 0},
    };
    struct rig r;
    rig_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rules *rules = NULL;
        struct policy_notes notes = {99, 99};
        struct error err = {{0}};
        enum rules_source source;
        write_file(path_of(&r, "policy"), rows[i].text);
        int rc = policy_file_load(&rules, path_of(&r, "policy"), config_visit_yaml, r.base, &notes,
                                  &err);
        assert_row((rc == 0) == (rows[i].said == NULL), "%s: %s", rows[i].text, err.text);
        if (rc < 0) {
            assert_row(rc == ERR_CONFIG && rules == NULL, "%s", rows[i].text);
            assert_row(strstr(err.text, rows[i].said) != NULL, "%s: %s", rows[i].text, err.text);
            assert_row(strncmp(err.text, r.dir, strlen(r.dir)) == 0, "%s: %s", rows[i].text,
                       err.text);
            continue;
        }
        uint64_t t = rules_threshold(rules, 1, 1, LEVEL_INFO, &source);
        assert_row(t == rules_threshold_of(rows[i].info), "%s", rows[i].text);
        assert_row(notes.foreign_keys == rows[i].foreign, "%s", rows[i].text);
        assert_row(strcmp(rules_origin(rules), "file") == 0, "%s", rows[i].text);
        rules_unref(rules);
    }
    rig_done(&r);
}

static void a_bad_file_at_start(void **state)
{
    (void)state;
    struct rig r;
    struct error err = {{0}};
    rig_init(&r);
    assert_int_equal(rig_open(&r, &err), ERR_CONFIG);
    assert_non_null(strstr(err.text, "sampling.policy_file: cannot read"));
    write_file(path_of(&r, "policy"), "global_rate: 2\n");
    assert_int_equal(rig_open(&r, &err), ERR_CONFIG);
    assert_non_null(strstr(err.text, "policy:1:14:"));
    write_file(path_of(&r, "policy"), "global_rate: 1\n#");
    assert_int_equal(truncate(path_of(&r, "policy"), POLICY_FILE_BYTES + 1), 0);
    assert_int_equal(rig_open(&r, &err), ERR_CONFIG);
    assert_non_null(strstr(err.text, "larger than"));
    assert_int_equal(r.installs, 0);
    rig_done(&r);
}

/* The loop turns until `done`, however slow the machine. */
#define TURN_UNTIL(r, done) \
    do { \
        for (unsigned turns_ = 0; !(done); turns_++) { \
            assert_true(turns_ < 20000); \
            uv_run(&(r).loop, UV_RUN_NOWAIT); \
            usleep(1000); \
        } \
    } while (0)

static void whatever_happens_the_last_good_one_stays(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    replace(&r, "global_rate: 1\nversion: 1\n");
    assert_int_equal(rig_open(&r, NULL), 0);
    const struct policy_file_stats *s = policy_file_stats(r.file);
    assert_int_equal(r.version, 1);

    replace(&r, "global_rate: 2\nversion: 2\n"); /* told by the directory */
    TURN_UNTIL(r, s->invalid.value == 1);
    assert_int_equal(r.version, 1);
    policy_file_reload(r.file, NULL); /* asked: told once more */
    TURN_UNTIL(r, s->invalid.value == 2);
    unlink(path_of(&r, "policy"));
    TURN_UNTIL(r, s->unreadable.value == 1);
    assert_int_equal(r.version, 1);
    write_file(path_of(&r, "policy"), "global_rate: 0.5\nversion: 3\n"); /* in place */
    TURN_UNTIL(r, r.version == 3);
    assert_int_equal(s->version, 3);
    assert_int_equal(r.installs, 2);

    replace(&r, "global_rate: 0.5\nversion: 3\n"); /* the same again is no change */
    policy_file_reload(r.file, NULL);              /* but when asked */
    TURN_UNTIL(r, r.installs == 3);
    policy_file_reload(r.file, NULL); /* closed while it reads */
    rig_done(&r);
    assert_int_equal(r.installs, 3);
}

/* A ConfigMap: policy -> ..data/policy, ..data -> a; then ..data is renamed over. */
static void a_swap_of_symbolic_links(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    assert_int_equal(mkdir(path_of(&r, "a"), 0700) | mkdir(path_of(&r, "b"), 0700), 0);
    write_file(path_of(&r, "a/policy"), "global_rate: 1\nversion: 1\n");
    write_file(path_of(&r, "b/policy"), "global_rate: 1\nversion: 2\n");
    assert_int_equal(symlink("a", path_of(&r, "..data")), 0);
    assert_int_equal(symlink("..data/policy", path_of(&r, "policy")), 0);
    assert_int_equal(rig_open(&r, NULL), 0);
    assert_int_equal(r.version, 1);
    assert_int_equal(symlink("b", path_of(&r, "..tmp")), 0);
    assert_int_equal(rename(path_of(&r, "..tmp"), path_of(&r, "..data")), 0);
    TURN_UNTIL(r, r.version == 2);
    rig_done(&r);
}

/* The directory itself is replaced: nobody tells, the poll finds it, and watches the new one. */
static void another_directory_by_that_name(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.poll_ms = 50;
    replace(&r, "global_rate: 1\nversion: 1\n");
    assert_int_equal(rig_open(&r, NULL), 0);
    unlink(path_of(&r, "policy"));
    assert_int_equal(rmdir(r.dir), 0);
    TURN_UNTIL(r, policy_file_stats(r.file)->unreadable.value == 1);
    assert_int_equal(mkdir(r.dir, 0700), 0);
    replace(&r, "global_rate: 1\nversion: 2\n");
    TURN_UNTIL(r, r.version == 2);
    replace(&r, "global_rate: 1\nversion: 3\n");
    TURN_UNTIL(r, r.version == 3);
    assert_int_equal(policy_file_stats(r.file)->unreadable.value,
                     1); /* told once, not at each poll */
    rig_done(&r);
}

/* ---- swaps under load -------------------------------------------------- */

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    struct rig *r = ctx;
    (void)g;
    (void)record;
    (void)stamp;
    (void)service;
    r->emitted++;
    return 0;
}

/* One request of one INFO record. */
static void add_request(struct buf *request)
{
    struct buf value = {0}, record = {0}, scope = {0}, logs = {0};
    uint8_t head[2] = {0x10, 9};
    buf_append(&record, span_of(head, 2));
    wire_append_len(&value, 1, SPAN("user 42 logged in"));
    wire_append_len(&record, 5, buf_span(&value));
    wire_append_len(&scope, 2, buf_span(&record));
    wire_append_len(&logs, 2, buf_span(&scope));
    wire_append_len(request, 1, buf_span(&logs));
    struct buf *bufs[] = {&value, &record, &scope, &logs};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
}

static void a_thousand_swaps_under_load(void **state)
{
    (void)state;
    struct rig r;
    struct buf request = {0};
    uint64_t pushed = 0, expected = 0;
    rig_init(&r);
    arena_init(&r.arena, 1 << 20, NULL);
    add_request(&request);
    replace(&r, "global_rate: 1\nversion: 0\n");
    const struct pipeline_opts opts = {
        .max_patterns = 16,
        .max_services = 4,
        .seed = 3,
        .clock = &r.clock.clock,
        .sink = {.ctx = &r, .emit = on_emit},
    };
    assert_int_equal(pipeline_new(&r.pipeline, &opts, r.base), 0);
    assert_int_equal(rig_open(&r, NULL), 0);
    for (int version = 1; version <= SWAPS; version++) {
        char text[64];
        bool bad = version % 10 == 7; /* in between, one that must not count */
        snprintf(text, sizeof text, "global_rate: %d\nversion: %d\n", bad ? 7 : version % 2,
                 version);
        replace(&r, text);
        const struct policy_file_stats *s = policy_file_stats(r.file);
        uint64_t before = s->invalid.value;
        policy_file_reload(r.file, NULL);
        for (unsigned turns = 0; bad ? s->invalid.value == before : r.version != version; turns++) {
            uint32_t records;
            assert_true(turns < 20000);
            assert_int_equal(pipeline_push(r.pipeline, buf_span(&request), &r.arena, &records), 0);
            arena_reset(&r.arena);
            pushed++;
            expected +=
                (uint64_t)(r.version % 2) | (r.version == 0); /* rate 1 or 0: nothing in between */
            uv_run(&r.loop, UV_RUN_NOWAIT);
            usleep(50);
        }
    }
    const struct ledger_row *t = ledger_total(pipeline_ledger(r.pipeline));
    assert_int_equal(ledger_imbalance(pipeline_ledger(r.pipeline)), 0);
    assert_int_equal(t->received, pushed);
    assert_int_equal(t->verdict[VERDICT_KEPT], expected);
    assert_int_equal(t->verdict[VERDICT_SAMPLED_OUT], pushed - expected);
    assert_int_equal(r.emitted, expected);
    rig_done(&r);
    pipeline_free(r.pipeline);
    arena_done(&r.arena);
    buf_done(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_policy),
        cmocka_unit_test(a_bad_file_at_start),
        cmocka_unit_test(whatever_happens_the_last_good_one_stays),
        cmocka_unit_test(a_swap_of_symbolic_links),
        cmocka_unit_test(another_directory_by_that_name),
        cmocka_unit_test(a_thousand_swaps_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
