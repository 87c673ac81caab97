/* kept: a file a service, its name and the document as JSON. */
#include "policy/kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "otlp/json_doc.h"
#include "util/diag.h"
#include "util/hash.h"
#include "util/json.h"
#include "util/list.h"

#define NAME_FORMAT "policy-%016" PRIx64 ".json"
#define NAME_BYTES 40
#define FILE_BYTES (2u << 20) /* a document and its frame */

struct entry {
    struct list link;
    struct buf service, document;
};

struct kept {
    uv_loop_t *loop;
    struct budget *budget;
    int dir_fd;
    struct list read, waiting; /* found at the start; to be written */
    size_t read_bytes;
    uint32_t read_count;
    uv_work_t work;
    struct entry *writing;
    int rc; /* of the job */
    struct kept_stats stats;
};

static struct entry *entry_new(struct kept *k, struct span service, struct span document)
{
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    list_init(&e->link);
    e->service.budget = e->document.budget = k->budget;
    buf_append(&e->service, service);
    buf_append(&e->document, document);
    return e;
}

static void entry_free(struct entry *e)
{
    if (e == NULL)
        return;
    list_remove(&e->link);
    buf_done(&e->service);
    buf_done(&e->document);
    free(e);
}

static struct entry *find(const struct list *all, struct span service)
{
    for (struct list *at = all->next; at != all; at = at->next) {
        struct entry *e = container_of(at, struct entry, link);
        if (span_eq(buf_span(&e->service), service))
            return e;
    }
    return NULL;
}

/* ---- writing ------------------------------------------------------------ */

static int write_file(int fd, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.base, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        bytes = span_skip(bytes, (size_t)n);
    }
    return fsync(fd) < 0 ? ERR_IO : 0;
}

/* {"service":"cart","policy":{...}} in the place of what was there. */
static int replace(struct kept *k, const struct entry *e)
{
    char name[NAME_BYTES];
    struct buf text = {.max_bytes = FILE_BYTES};
    struct json j = json_on(&text);
    json_begin(&j, NULL);
    json_text(&j, "service", buf_span(&e->service));
    buf_append(json_value(&j, "policy"), buf_span(&e->document));
    json_end(&j);
    snprintf(name, sizeof name, NAME_FORMAT, hash64(buf_span(&e->service)));
    int fd = text.err != 0
                 ? -1
                 : openat(k->dir_fd, "policy.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? ERR_IO : write_file(fd, buf_span(&text));
    if (fd >= 0)
        close(fd);
    if (rc == 0 && (renameat(k->dir_fd, "policy.tmp", k->dir_fd, name) < 0 || fsync(k->dir_fd) < 0))
        rc = ERR_IO;
    buf_done(&text);
    return rc;
}

static void on_job(uv_work_t *work)
{
    struct kept *k = container_of(work, struct kept, work);
    k->rc = replace(k, k->writing);
}

static void start(struct kept *k);

static void on_job_done(uv_work_t *work, int status)
{
    struct kept *k = container_of(work, struct kept, work);
    (void)status; /* a job is never cancelled */
    metric_inc(k->rc == 0 ? &k->stats.written : &k->stats.failed);
    if (k->rc < 0)
        diag(DIAG_WARN, "policy_not_kept", "a policy could not be written to state.directory",
             "error=\"%s\"", err_text(k->rc));
    entry_free(k->writing);
    k->writing = NULL;
    start(k);
}

static void start(struct kept *k)
{
    if (k->writing != NULL || list_is_empty(&k->waiting))
        return;
    k->writing = container_of(k->waiting.next, struct entry, link);
    list_remove(&k->writing->link);
    if (uv_queue_work(k->loop, &k->work, on_job, on_job_done) == 0)
        return;
    metric_inc(&k->stats.failed);
    entry_free(k->writing);
    k->writing = NULL;
}

void kept_write(struct kept *k, struct span service, struct span document)
{
    entry_free(find(&k->waiting, service));
    struct entry *e = entry_new(k, service, document);
    if (e == NULL || e->service.err != 0 || e->document.err != 0) {
        metric_inc(&k->stats.failed);
        entry_free(e);
        return;
    }
    list_append(&k->waiting, &e->link);
    start(k);
}

/* ---- reading ------------------------------------------------------------ */

static int read_whole(int dir_fd, const char *name, struct buf *out)
{
    struct stat st;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return ERR_IO;
    int rc = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_BYTES
                 ? ERR_TOO_BIG
                 : buf_reserve_exact(out, (size_t)st.st_size);
    while (rc == 0 && out->len < out->cap) {
        ssize_t n = read(fd, out->base + out->len, out->cap - out->len);
        if (n <= 0)
            break;
        out->len += (size_t)n;
    }
    close(fd);
    return rc;
}

/* The document as it stood, cut out of the frame that replace() makes. */
static struct span document_of(struct span text, struct span mark)
{
    const uint8_t *at = text.len > 0 ? memmem(text.base, text.len, mark.base, mark.len) : NULL;
    if (at == NULL)
        return (struct span){0};
    struct span rest = span_skip(text, (size_t)(at - text.base) + mark.len);
    return span_of(rest.base, rest.len > 0 ? rest.len - 1 : 0);
}

static void read_one(struct kept *k, const char *name)
{
    struct buf text = {.budget = k->budget};
    struct json_doc *doc = NULL;
    struct json_node root;
    char want[NAME_BYTES] = "";
    if (k->read_count < KEPT_FILES && read_whole(k->dir_fd, name, &text) == 0 &&
        json_doc_new(&doc, buf_span(&text), k->budget, &root) == 0) {
        struct span service = json_string(json_get(root, "service"));
        struct span document = document_of(buf_span(&text), SPAN("\"policy\":"));
        snprintf(want, sizeof want, NAME_FORMAT, hash64(service));
        if (strcmp(want, name) == 0 && document.len > 0 &&
            k->read_bytes + document.len <= KEPT_BYTES) {
            struct entry *e = entry_new(k, service, document);
            if (e != NULL)
                list_append(&k->read, &e->link);
            k->read_bytes += document.len;
            k->read_count++;
        }
    }
    json_doc_free(doc);
    buf_done(&text);
}

static int read_all(struct kept *k, const char *directory)
{
    DIR *d = opendir(directory);
    if (d == NULL)
        return ERR_IO;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strncmp(e->d_name, "policy-", 7) == 0)
            read_one(k, e->d_name);
    closedir(d);
    return 0;
}

int kept_open(struct kept **out, uv_loop_t *loop, const char *directory, struct budget *budget,
              struct error *err)
{
    struct kept *k = calloc(1, sizeof *k);
    if (k == NULL)
        return ERR_NOMEM;
    *k = (struct kept){.loop = loop, .budget = budget};
    list_init(&k->read);
    list_init(&k->waiting);
    k->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (k->dir_fd >= 0 && read_all(k, directory) == 0) {
        *out = k;
        return 0;
    }
    int rc =
        err_set(err, ERR_UNAVAILABLE, "state.directory: '%.300s': %s", directory, strerror(errno));
    kept_free(k);
    return rc;
}

void kept_free(struct kept *k)
{
    if (k == NULL)
        return;
    LIST_EACH (at, &k->read)
        entry_free(container_of(at, struct entry, link));
    LIST_EACH (at, &k->waiting)
        entry_free(container_of(at, struct entry, link));
    if (k->dir_fd >= 0)
        close(k->dir_fd);
    free(k);
}

struct span kept_find(const struct kept *k, struct span service)
{
    struct entry *e = find(&k->read, service);
    return e == NULL ? (struct span){0} : buf_span(&e->document);
}

void kept_forget(struct kept *k, struct span service)
{
    entry_free(find(&k->read, service));
}

const struct kept_stats *kept_stats(const struct kept *k)
{
    return &k->stats;
}
