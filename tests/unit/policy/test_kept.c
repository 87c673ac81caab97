#include "unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "policy/kept.h"
#include "util/diag.h"

struct rig {
    char directory[64];
    uv_loop_t loop;
    struct budget budget;
    struct kept *kept;
};

static void open_again(struct rig *r)
{
    struct error err = {{0}};
    assert_row(kept_open(&r->kept, &r->loop, r->directory, &r->budget, &err) == 0, "%s", err.text);
}

static void rig_open(struct rig *r)
{
    snprintf(r->directory, sizeof r->directory, "/tmp/test_kept_XXXXXX");
    assert_non_null(mkdtemp(r->directory));
    uv_loop_init(&r->loop);
    budget_init(&r->budget, 4 << 20);
    open_again(r);
}

static void reopen(struct rig *r)
{
    uv_run(&r->loop, UV_RUN_DEFAULT);
    kept_free(r->kept);
    assert_int_equal(r->budget.used, 0);
    open_again(r);
}

static void rig_close(struct rig *r)
{
    char command[128];
    uv_run(&r->loop, UV_RUN_DEFAULT);
    kept_free(r->kept);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    assert_int_equal(r->budget.used, 0);
    snprintf(command, sizeof command, "rm -r %s", r->directory);
    assert_int_equal(system(command), 0);
}

static void assert_has(struct rig *r, struct span service, const char *document)
{
    assert_true(span_eq(kept_find(r->kept, service), span_str(document)));
}

static void the_latest_of_each_is_found_again(void **state)
{
    (void)state;
    struct rig r;
    const struct span odd = SPAN("a \"b\"/\xc3\xbc\\");
    rig_open(&r);
    kept_write(r.kept, odd, SPAN("{\"version\":1, \"x\": \"\\\"policy\\\":\"}"));
    for (int i = 0; i < 20; i++)
        kept_write(r.kept, SPAN("cart"),
                   i < 19 ? SPAN("{\"version\":2}") : SPAN("{\"version\":3}"));
    assert_has(&r, SPAN("cart"), ""); /* what it found at the start, and that is nothing */
    reopen(&r);
    assert_has(&r, odd, "{\"version\":1, \"x\": \"\\\"policy\\\":\"}");
    assert_has(&r, SPAN("cart"), "{\"version\":3}");
    assert_has(&r, SPAN("other"), "");
    kept_forget(r.kept, SPAN("cart"));
    kept_forget(r.kept, SPAN("cart"));
    assert_has(&r, SPAN("cart"), "");
    reopen(&r);
    assert_has(&r, SPAN("cart"), "{\"version\":3}"); /* on disk it stays */
    rig_close(&r);
}

static void put(struct rig *r, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", r->directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void what_is_not_ours_is_left_alone(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    kept_write(r.kept, SPAN("cart"), SPAN("{}"));
    put(&r, "policy-0000000000000001.json", "{\"service\":\"cart\",\"policy\":{\"version\":9}}");
    put(&r, "policy-0000000000000002.json", "{\"service\":\"cart\",\"pol");
    put(&r, "policy-0000000000000003.json", "");
    put(&r, "policy.tmp", "{\"service\":\"cart\",\"policy\":{}}");
    put(&r, "notes", "mine");
    reopen(&r);
    assert_has(&r, SPAN("cart"), "{}");
    assert_int_equal(access(r.directory, R_OK), 0);
    rig_close(&r);
}

static void no_room_and_no_directory(void **state)
{
    (void)state;
    struct rig r;
    struct error err = {{0}};
    struct kept *none = NULL;
    rig_open(&r);
    assert_int_equal(kept_open(&none, &r.loop, "/nowhere/at/all", NULL, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "state.directory"));
    r.budget.limit = 0;
    kept_write(r.kept, SPAN("cart"), SPAN("{}"));
    assert_int_equal(kept_stats(r.kept)->failed.value, 1);
    r.budget.limit = 4 << 20;
    kept_write(r.kept, SPAN("cart"), SPAN("{}"));
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(kept_stats(r.kept)->written.value, 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_latest_of_each_is_found_again),
        cmocka_unit_test(what_is_not_ours_is_left_alone),
        cmocka_unit_test(no_room_and_no_directory),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
