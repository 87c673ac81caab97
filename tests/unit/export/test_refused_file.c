#include "unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export/refused_file.h"
#include "util/diag.h"

/* A request of one record: resource_logs / scope_logs / log_records / severity_number 9. */
#define REQUEST SPAN("\x0a\x06\x12\x04\x12\x02\x10\x09")
#define LINE "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"severityNumber\":9}]}]}]}\n"

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/aside.XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static size_t read_all(char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(out, 1, size - 1, f);
    out[n] = '\0';
    fclose(f);
    return n;
}

static void lines_up_to_the_bound(void **state)
{
    (void)state;
    struct error err = {{0}};
    struct refused_file *a;
    struct stat st;
    char text[4096];
    size_t line = strlen(LINE);
    snprintf(path, sizeof path, "%s/refused", dir);
    struct refused_file_opts opts = {path, 2 * line + 10, NULL};
    assert_int_equal(refused_file_open(&a, &opts, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(refused_file_put(a, REQUEST, 1), 0);
    read_all(text, sizeof text);
    assert_string_equal(text, LINE);
    refused_file_close(a);

    assert_int_equal(refused_file_open(&a, &opts, &err), 0); /* what was there counts */
    assert_int_equal(refused_file_stats(a).bytes, line);
    assert_int_equal(refused_file_put(a, REQUEST, 1), 0);
    assert_int_equal(refused_file_put(a, REQUEST, 1), ERR_FULL);
    assert_int_equal(refused_file_put(a, REQUEST, 5), ERR_FULL);
    refused_file_leave_out(a, 2);
    assert_int_equal(refused_file_stats(a).written.value, 1);
    assert_int_equal(refused_file_stats(a).left_out.value, 8);
    assert_int_equal(read_all(text, sizeof text), 2 * line);
    refused_file_close(a);
}

static void no_memory_and_no_request(void **state)
{
    (void)state;
    struct error err = {{0}};
    struct budget budget;
    struct refused_file *a;
    budget_init(&budget, 16);
    struct refused_file_opts opts = {path, 1 << 20, &budget};
    assert_int_equal(refused_file_open(&a, &opts, &err), 0);
    uint64_t before = refused_file_stats(a).bytes;
    assert_true(refused_file_put(a, REQUEST, 1) < 0);
    budget.limit = 1 << 20;
    assert_true(refused_file_put(a, SPAN("\x0a\x7f"), 1) < 0);
    assert_int_equal(refused_file_put(a, REQUEST, 1), 0); /* memory came back: it was not full */
    assert_int_equal(refused_file_stats(a).bytes, before + strlen(LINE));
    assert_int_equal(refused_file_stats(a).left_out.value, 2);
    assert_int_equal(budget.used, 0);
    refused_file_close(a);
}

static void what_cannot_be_opened(void **state)
{
    (void)state;
    struct error err = {{0}};
    struct refused_file *a = NULL;
    const char *const paths[] = {"/nonexistent/file", dir, "/dev/null"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct refused_file_opts opts = {paths[i], 1 << 20, NULL};
        err.text[0] = '\0';
        assert_int_equal(refused_file_open(&a, &opts, &err), ERR_CONFIG);
        assert_non_null(strstr(err.text, "exporters.refused_file: cannot write to"));
        assert_null(a);
    }
    refused_file_close(NULL);
}

static void rotation(void **state)
{
    (void)state;
    struct error err = {{0}};
    struct refused_file *a;
    char old[128], text[4096];
    unlink(path);
    struct refused_file_opts opts = {path, strlen(LINE), NULL};
    assert_int_equal(refused_file_open(&a, &opts, &err), 0);
    assert_int_equal(refused_file_put(a, REQUEST, 1), 0);
    assert_int_equal(refused_file_put(a, REQUEST, 1), ERR_FULL);
    snprintf(old, sizeof old, "%s.old", path);
    assert_int_equal(rename(path, old), 0);
    assert_int_equal(refused_file_reopen(a, "/nonexistent/file", &err),
                     ERR_CONFIG); /* the old one stays */
    assert_int_equal(refused_file_stats(a).bytes, strlen(LINE));
    assert_int_equal(refused_file_reopen(a, path, &err), 0);
    assert_int_equal(refused_file_stats(a).bytes, 0);
    assert_int_equal(refused_file_put(a, REQUEST, 1), 0);
    read_all(text, sizeof text);
    assert_string_equal(text, LINE);
    refused_file_close(a);
    unlink(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_up_to_the_bound),
        cmocka_unit_test(no_memory_and_no_request),
        cmocka_unit_test(rotation),
        cmocka_unit_test(what_cannot_be_opened),
    };
    diag_setup(&(struct diag_opts){.level = DIAG_ERROR});
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
