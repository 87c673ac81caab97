#include "unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export/file.h"
#include "otlp/json.h"
#include "otlp/wire.h"

struct rig {
    uv_loop_t loop;
    struct budget budget;
    struct sink sink;
    char path[64];
    unsigned answers;
    int err, status;
};

static void on_done(void *ctx, const struct sink_answer *a)
{
    struct rig *r = ctx;
    r->answers++;
    r->err = a->err;
    r->status = a->status;
}

static void rig_open(struct rig *r, const char *path)
{
    struct error err = {{0}};
    *r = (struct rig){0};
    uv_loop_init(&r->loop);
    budget_init(&r->budget, 1 << 20);
    snprintf(r->path, sizeof r->path, "%s", path);
    if (strcmp(path, "") == 0) {
        snprintf(r->path, sizeof r->path, "/tmp/lipservice_test_XXXXXX");
        close(mkstemp(r->path));
    }
    const struct file_opts opts = {r->path, &r->budget};
    assert_int_equal(file_open(&r->sink, &r->loop, &opts, &err), 0);
    assert_int_equal(r->sink.concurrency, 1);
    assert_true(r->sink.takes[SIGNAL_LOGS]);
    assert_false(r->sink.takes[SIGNAL_TRACES]);
    assert_false(r->sink.compresses);
}

static void rig_close(struct rig *r)
{
    r->sink.ops->close(r->sink.self);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    assert_int_equal(r->budget.used, 0);
    if (strncmp(r->path, "/tmp/", 5) == 0)
        unlink(r->path);
}

/* n records in one request. */
static struct parcel *parcel(unsigned n)
{
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){0});
    struct coder *coder = coder_new();
    const struct parcel_packing packing = {coder, CODING_IDENTITY, NULL, SIZE_MAX};
    struct logs_group g = {0};
    struct batch *batch;
    struct parcel *p;
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(batch_add(b, &g, SPAN("\x10\x09\x1a\x04line"), (struct span){0}, 0), 0);
    assert_int_equal(batch_seal(b, &batch), 0);
    p = parcel_of_logs();
    assert_non_null(p);
    parcel_fill(p, &batch, &packing);
    batch_builder_free(b);
    coder_free(coder);
    return p;
}

static void each_parcel_is_a_line(void **state)
{
    (void)state;
    static const char line[] = "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":["
                               "{\"severityNumber\":9,\"severityText\":\"line\"}]}]}]}\n";
    struct rig r;
    char text[512] = "";
    void *call;
    rig_open(&r, "");
    struct parcel *p = parcel(1);
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(r.sink.ops->send(r.sink.self, p, on_done, &r, &call), 0);
        assert_int_equal(r.answers, i - 1); /* never from inside */
        assert_true(r.sink.ops->send(r.sink.self, p, on_done, &r, &call) < 0); /* one at a time */
        uv_run(&r.loop, UV_RUN_DEFAULT);
        assert_int_equal(r.answers, i);
        assert_int_equal(r.err, 0);
        assert_int_equal(r.status, 200);
    }
    int fd = open(r.path, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text - 1), 2 * (sizeof line - 1));
    assert_memory_equal(text, line, sizeof line - 1);
    assert_memory_equal(text + sizeof line - 1, line, sizeof line - 1);
    struct stat st;
    fstat(fd, &st);
    assert_int_equal(st.st_mode & 077, 0); /* logs are nobody else's business */
    close(fd);
    parcel_free(p);
    rig_close(&r);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    struct rig r;
    void *call;
    if (access("/dev/full", W_OK) != 0)
        skip();
    rig_open(&r, "/dev/full");
    struct parcel *p = parcel(3);
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(r.sink.ops->send(r.sink.self, p, on_done, &r, &call), 0);
        uv_run(&r.loop, UV_RUN_DEFAULT);
        assert_int_equal(r.answers, i);
        assert_int_equal(r.err, ERR_IO);
    }
    r.budget.limit = 10; /* no memory for the line: not started */
    assert_true(r.sink.ops->send(r.sink.self, p, on_done, &r, &call) < 0);
    assert_int_equal(r.answers, 2);
    parcel_free(p);
    rig_close(&r);
}

static void cancelled_in_the_middle(void **state)
{
    (void)state;
    struct rig r;
    void *call;
    rig_open(&r, "");
    struct parcel *p = parcel(1000);
    assert_int_equal(r.sink.ops->send(r.sink.self, p, on_done, &r, &call), 0);
    r.sink.ops->cancel(r.sink.self, call);
    parcel_free(p); /* cancelled: it is ours again */
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.answers, 0);
    rig_close(&r);

    rig_open(&r, "");
    p = parcel(1000);
    assert_int_equal(r.sink.ops->send(r.sink.self, p, on_done, &r, &call), 0);
    r.sink.ops->cancel(r.sink.self, call);
    parcel_free(p);
    rig_close(&r); /* closed while the write is under way */
    assert_int_equal(r.answers, 0);
}

/* A pipe that takes a part and then breaks; what comes next begins a line of its own. */
static void a_torn_line_is_ended(void **state)
{
    (void)state;
    struct rig r;
    void *call;
    int ends[2];
    char path[64];
    static char text[1 << 20];
    assert_int_equal(pipe(ends), 0);
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
    if (access(path, W_OK) != 0)
        skip();
    rig_open(&r, path);
    /* The sink opened the pipe for itself, and blocking: make that one give up too. */
    for (int fd = ends[1] + 1; fd < ends[1] + 32; fd++) {
        struct stat a, b;
        if (fstat(fd, &a) == 0 && fstat(ends[1], &b) == 0 && a.st_ino == b.st_ino &&
            S_ISFIFO(a.st_mode))
            fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    struct parcel *big = parcel(1000), *one = parcel(1);
    assert_int_equal(r.sink.ops->send(r.sink.self, big, on_done, &r, &call), 0);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.err, ERR_IO);
    ssize_t torn = read(ends[0], text, sizeof text);
    assert_true(torn > 0);
    assert_int_equal(r.sink.ops->send(r.sink.self, one, on_done, &r, &call), 0);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.err, 0);
    assert_true(read(ends[0], text, sizeof text) > 2);
    assert_memory_equal(text, "\n{", 2);
    parcel_free(big);
    parcel_free(one);
    rig_close(&r);
    close(ends[0]);
    close(ends[1]);
}

static size_t read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, size - 1);
    assert_true(fd >= 0 && n >= 0);
    text[n] = '\0';
    close(fd);
    return (size_t)n;
}

static void renew(struct rig *r)
{
    struct sink next = {0};
    struct error err = {{0}};
    const struct file_opts opts = {r->path, &r->budget};
    assert_int_equal(file_open(&next, &r->loop, &opts, &err), 0);
    r->sink.ops->renew(r->sink.self, next.self);
}

/* rename, then renew: at rest, and twice while a line is being written. */
static void rotation(void **state)
{
    (void)state;
    struct rig r;
    void *call;
    static char text[1 << 20];
    char old[80];
    rig_open(&r, "");
    struct parcel *one = parcel(1), *big = parcel(1000);
    for (unsigned busy = 0; busy <= 1; busy++) {
        snprintf(old, sizeof old, "%s.%u", r.path, busy);
        assert_int_equal(r.sink.ops->send(r.sink.self, big, on_done, &r, &call), 0);
        if (!busy)
            uv_run(&r.loop, UV_RUN_DEFAULT);
        assert_int_equal(rename(r.path, old), 0);
        renew(&r);
        if (busy)
            renew(&r);
        uv_run(&r.loop, UV_RUN_DEFAULT);
        assert_int_equal(r.err, 0);
        size_t n = read_file(old, text, sizeof text);
        assert_true(n > 10000 && strchr(text, '\n') == text + n - 1); /* one line, whole */
        assert_int_equal(read_file(r.path, text, sizeof text), 0);
        assert_int_equal(unlink(old), 0);
    }
    assert_int_equal(r.sink.ops->send(r.sink.self, one, on_done, &r, &call), 0);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_true(read_file(r.path, text, sizeof text) > 10);
    assert_int_equal(r.sink.ops->send(r.sink.self, one, on_done, &r, &call), 0);
    renew(&r); /* and closed before it could take over */
    parcel_free(one);
    parcel_free(big);
    rig_close(&r);
}

static void half_a_line_from_before_is_ended(void **state)
{
    (void)state;
    struct rig r;
    void *call;
    char text[512];
    rig_open(&r, "");
    struct parcel *one = parcel(1);
    int fd = open(r.path, O_WRONLY);
    assert_int_equal(write(fd, "{\"half", 6), 6);
    close(fd);
    renew(&r); /* the same file: a start and a reload read its end alike */
    r.sink.ops->close(r.sink.self);
    const struct file_opts opts = {r.path, &r.budget};
    assert_int_equal(file_open(&r.sink, &r.loop, &opts, NULL), 0);
    assert_int_equal(r.sink.ops->send(r.sink.self, one, on_done, &r, &call), 0);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    read_file(r.path, text, sizeof text);
    assert_memory_equal(text, "{\"half\n{\"resourceLogs\"", 20);
    parcel_free(one);
    rig_close(&r);
}

static void what_cannot_be_opened(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct sink sink = {0};
    struct error err = {{0}};
    uv_loop_init(&loop);
    const struct file_opts opts = {"/nonexistent/dir/file", NULL};
    assert_int_equal(file_open(&sink, &loop, &opts, &err), ERR_CONFIG);
    assert_non_null(strstr(err.text, "/nonexistent/dir/file"));
    assert_null(sink.ops);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_parcel_is_a_line),
        cmocka_unit_test(a_full_disk_is_an_error),
        cmocka_unit_test(cancelled_in_the_middle),
        cmocka_unit_test(a_torn_line_is_ended),
        cmocka_unit_test(rotation),
        cmocka_unit_test(half_a_line_from_before_is_ended),
        cmocka_unit_test(what_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
