/* sim_disk: logs, and what a crash makes of them. */
#include "unit/export/sim_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GROW(array, count, cap) \
    do { \
        if ((count) >= (cap)) { \
            (cap) = (cap) == 0 ? 8 : (cap)*2; \
            (array) = realloc((array), (cap) * sizeof *(array)); \
            assert((array) != NULL); \
        } \
    } while (0)

static void room(uint8_t **at, size_t *cap, size_t need)
{
    if (need <= *cap)
        return;
    while (*cap < need)
        *cap = *cap == 0 ? 1024 : *cap * 2;
    *at = realloc(*at, *cap);
    assert(*at != NULL);
}

static void resize(uint8_t **at, size_t *size, size_t *cap, size_t to)
{
    room(at, cap, to);
    if (to > *size)
        memset(*at + *size, 0, to - *size);
    *size = to;
}

static void put(uint8_t **at, size_t *size, size_t *cap, const void *bytes, size_t n, size_t where)
{
    if (where + n > *size)
        resize(at, size, cap, where + n);
    if (n > 0)
        memcpy(*at + where, bytes, n);
}

/* ---- the directory ------------------------------------------------------ */

static int dir_find(const struct sim_dir *d, const char *name)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->entries[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void dir_apply(struct sim_dir *d, const struct sim_dir_op *op)
{
    int i = dir_find(d, op->name);
    if (op->verb == SIM_CREATE && i < 0) {
        GROW(d->entries, d->count, d->cap);
        struct sim_entry *e = &d->entries[d->count++];
        snprintf(e->name, sizeof e->name, "%s", op->name);
        e->file = op->file;
    } else if (op->verb == SIM_UNLINK && i >= 0) {
        d->entries[i] = d->entries[--d->count];
    } else if (op->verb == SIM_RENAME && i >= 0) {
        int file = d->entries[i].file, old = dir_find(d, op->to);
        d->entries[i] = d->entries[--d->count];
        old = dir_find(d, op->to);
        if (old >= 0)
            d->entries[old] = d->entries[--d->count];
        struct sim_dir_op to = {.verb = SIM_CREATE, .file = file};
        snprintf(to.name, sizeof to.name, "%s", op->to);
        dir_apply(d, &to);
    }
}

static void dir_do(struct sim *s, enum sim_dir_verb verb, const char *name, const char *to,
                   int file)
{
    struct sim_dir_op op = {.verb = verb, .file = file};
    snprintf(op.name, sizeof op.name, "%s", name);
    snprintf(op.to, sizeof op.to, "%s", to);
    dir_apply(&s->now, &op);
    GROW(s->dir_ops, s->dir_op_count, s->dir_op_cap);
    s->dir_ops[s->dir_op_count++] = op;
}

static void dir_copy(struct sim_dir *to, const struct sim_dir *from)
{
    *to = (struct sim_dir){calloc(from->count + 1, sizeof *to->entries), from->count,
                           from->count + 1};
    if (from->count > 0)
        memcpy(to->entries, from->entries, from->count * sizeof *to->entries);
}

/* ---- files -------------------------------------------------------------- */

static void file_done(struct sim_file *f)
{
    free(f->now);
    free(f->durable);
    free(f->ops);
    free(f->log);
}

static int file_new(struct sim *s)
{
    GROW(s->files, s->file_count, s->file_cap);
    s->files[s->file_count] = (struct sim_file){0};
    return (int)s->file_count++;
}

/* What reached the disk of one operation. */
static void op_land(struct sim_file *to, const struct sim_file *from, const struct sim_op *op,
                    enum sim_crash how, struct rng *rng)
{
    uint8_t **at = &to->durable;
    if (how == SIM_NOTHING || (how != SIM_KILL && rng_upto(rng, 2) == 0))
        return;
    if (op->is_size) {
        resize(at, &to->durable_size, &to->durable_cap, op->at);
        return;
    }
    if (how != SIM_TORN || rng_upto(rng, 1) == 0) {
        put(at, &to->durable_size, &to->durable_cap, from->log + op->log, op->len, op->at);
        return;
    }
    uint64_t sector = rng_upto(rng, 1) == 0 ? 512 : 4096;
    for (size_t done = 0; done < op->len;) {
        uint64_t where = op->at + done;
        size_t step = (size_t)(sector - where % sector);
        if (step > op->len - done)
            step = op->len - done;
        if (rng_upto(rng, 1) == 0)
            put(at, &to->durable_size, &to->durable_cap, from->log + op->log + done, step, where);
        done += step;
    }
}

static void file_synced(struct sim_file *f)
{
    room(&f->durable, &f->durable_cap, f->now_size);
    if (f->now_size > 0)
        memcpy(f->durable, f->now, f->now_size);
    f->durable_size = f->now_size;
    f->op_count = f->log_size = 0;
}

/* ---- the table ---------------------------------------------------------- */

/* 0, or the code of the fault that strikes this call. */
static int fault(struct sim *s)
{
    s->calls++;
    bool strikes =
        s->fail_at > 0 && (s->calls == s->fail_at || (s->fail_for_ever && s->calls > s->fail_at));
    return strikes ? s->fail_code : 0;
}

/* Only reads and writes are cut short or interrupted. */
static int fault_but_short(struct sim *s)
{
    int rc = fault(s);
    return rc == SIM_SHORT || rc == -EINTR ? 0 : rc;
}

static int sim_open(void *self, const char *name, enum disk_mode mode)
{
    struct sim *s = self;
    int rc = fault_but_short(s), i = dir_find(&s->now, name);
    if (rc < 0)
        return rc;
    if (mode == DISK_READ && s->open_code < 0)
        return s->open_code;
    if (mode != DISK_CREATE)
        return i < 0 ? -ENOENT : s->now.entries[i].file;
    if (i >= 0)
        return -EEXIST;
    int file = file_new(s);
    dir_do(s, SIM_CREATE, name, "", file);
    return file;
}

static void sim_close(void *self, int file)
{
    struct sim *s = self;
    assert(file >= 0 && (size_t)file < s->file_count);
}

static int64_t sim_size(void *self, int file)
{
    struct sim *s = self;
    int rc = fault_but_short(s);
    return rc < 0 ? rc : (int64_t)s->files[file].now_size;
}

static int64_t sim_pread(void *self, int file, void *to, size_t n, uint64_t at)
{
    struct sim *s = self;
    const struct sim_file *f = &s->files[file];
    int rc = fault(s);
    if (rc < 0 && rc != SIM_SHORT)
        return rc;
    if (f == s->bad_file && at < s->bad_to && at + n > s->bad_from)
        return -EIO;
    if (at >= f->now_size)
        return 0;
    if (n > f->now_size - at)
        n = (size_t)(f->now_size - at);
    if (rc == SIM_SHORT && n > 1)
        n /= 2;
    memcpy(to, f->now + at, n);
    return (int64_t)n;
}

static void log_op(struct sim_file *f, struct sim_op op)
{
    GROW(f->ops, f->op_count, f->op_cap);
    f->ops[f->op_count++] = op;
}

static int64_t sim_pwritev(void *self, int file, const struct span *spans, size_t n, uint64_t at)
{
    struct sim *s = self;
    struct sim_file *f = &s->files[file];
    int rc = fault(s);
    size_t all = 0, done = 0;
    for (size_t i = 0; i < n; i++)
        all += spans[i].len;
    size_t limit = rc == 0 ? all : rc == -EINTR ? 0 : all / 2; /* a failed write leaves a part */
    size_t begin = f->log_size;
    for (size_t i = 0; i < n && done < limit; i++) {
        size_t step = spans[i].len < limit - done ? spans[i].len : limit - done;
        put(&f->now, &f->now_size, &f->now_cap, spans[i].base, step, at + done);
        put(&f->log, &f->log_size, &f->log_cap, spans[i].base, step, begin + done);
        done += step;
    }
    if (done > 0)
        log_op(f, (struct sim_op){.at = at, .len = done, .log = begin});
    if (rc == SIM_SHORT)
        return done > 0 ? (int64_t)done : -EINTR;
    return rc < 0 ? rc : (int64_t)done;
}

static int set_size(struct sim *s, int file, uint64_t bytes)
{
    struct sim_file *f = &s->files[file];
    resize(&f->now, &f->now_size, &f->now_cap, bytes);
    log_op(f, (struct sim_op){.is_size = true, .at = bytes});
    return 0;
}

static int sim_allocate(void *self, int file, uint64_t bytes)
{
    struct sim *s = self;
    int rc = fault_but_short(s);
    if (rc < 0 || s->cannot_allocate)
        return rc < 0 ? rc : -EOPNOTSUPP;
    return bytes > s->files[file].now_size ? set_size(s, file, bytes) : 0;
}

static int sim_truncate(void *self, int file, uint64_t bytes)
{
    struct sim *s = self;
    int rc = fault_but_short(s);
    return rc < 0 ? rc : set_size(s, file, bytes);
}

/* When it fails the pages are clean all the same: each is on the disk or never will be. */
static int sim_fdatasync(void *self, int file)
{
    struct sim *s = self;
    struct sim_file *f = &s->files[file];
    int rc = fault_but_short(s);
    if (rc == 0) {
        file_synced(f);
        return 0;
    }
    for (size_t i = 0; i < f->op_count; i++)
        op_land(f, f, &f->ops[i], SIM_TORN, &s->rng);
    f->op_count = f->log_size = 0;
    return rc;
}

static int sim_rename(void *self, const char *from, const char *to)
{
    struct sim *s = self;
    int rc = fault_but_short(s);
    if (rc == 0 && dir_find(&s->now, from) < 0)
        rc = -ENOENT;
    if (rc == 0)
        dir_do(s, SIM_RENAME, from, to, -1);
    return rc;
}

static int sim_unlink(void *self, const char *name)
{
    struct sim *s = self;
    int rc = fault_but_short(s);
    if (rc == 0 && dir_find(&s->now, name) < 0)
        rc = -ENOENT;
    if (rc == 0)
        dir_do(s, SIM_UNLINK, name, "", -1);
    return rc;
}

static int sim_sync_dir(void *self)
{
    struct sim *s = self;
    int rc = fault_but_short(s);
    if (rc < 0)
        return rc;
    free(s->durable.entries);
    dir_copy(&s->durable, &s->now);
    s->dir_op_count = 0;
    return 0;
}

static int sim_list(void *self, disk_name_fn *fn, void *ctx)
{
    struct sim *s = self;
    struct sim_dir names;
    int rc = fault_but_short(s);
    if (rc < 0)
        return rc;
    dir_copy(&names, &s->now); /* fn may remove some */
    for (size_t i = 0; i < names.count && rc == 0; i++)
        rc = fn(ctx, names.entries[i].name);
    free(names.entries);
    return rc;
}

static int sim_lock(void *self, const char *name)
{
    (void)name;
    return fault_but_short(self);
}

static void sim_close_dir(void *self)
{
    (void)self;
}

static int sim_attached(void *self, int file)
{
    (void)self;
    (void)file;
    return 0;
}

static int sim_renew(void *self, const char *lock_name)
{
    (void)self;
    (void)lock_name;
    return -EIO; /* never asked: it is always attached */
}

static int64_t sim_free(void *self)
{
    struct sim *s = self;
    return s->free_bytes > 0 ? s->free_bytes : INT64_MAX;
}

static const struct disk_ops sim_ops = {
    sim_open,     sim_close,     sim_size,   sim_pread,  sim_pwritev,   sim_allocate,
    sim_truncate, sim_fdatasync, sim_rename, sim_unlink, sim_sync_dir,  sim_list,
    sim_lock,     sim_attached,  sim_renew,  sim_free,   sim_close_dir,
};

/* ---- for tests ---------------------------------------------------------- */

void sim_init(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.rng = {seed}};
}

void sim_done(struct sim *s)
{
    for (size_t i = 0; i < s->file_count; i++)
        file_done(&s->files[i]);
    free(s->files);
    free(s->now.entries);
    free(s->durable.entries);
    free(s->dir_ops);
    *s = (struct sim){0};
}

struct disk sim_disk(struct sim *s)
{
    return (struct disk){&sim_ops, s};
}

void sim_crash(struct sim *out, const struct sim *s, enum sim_crash how, struct rng *rng)
{
    struct sim_dir dir;
    sim_init(out, rng_next(rng));
    out->cannot_allocate = s->cannot_allocate;
    dir_copy(&dir, &s->durable);
    for (size_t i = 0; i < s->dir_op_count; i++)
        if (how == SIM_KILL || (how != SIM_NOTHING && rng_upto(rng, 1) == 0))
            dir_apply(&dir, &s->dir_ops[i]);
    for (size_t i = 0; i < dir.count; i++) {
        const struct sim_file *from = &s->files[dir.entries[i].file];
        struct sim_file landed = {0};
        put(&landed.durable, &landed.durable_size, &landed.durable_cap, from->durable,
            from->durable_size, 0);
        for (size_t j = 0; j < from->op_count; j++)
            op_land(&landed, from, &from->ops[j], how, rng);
        if (how == SIM_KILL) { /* the page cache is still there, whatever a failed fsync lost */
            landed.durable_size = 0;
            put(&landed.durable, &landed.durable_size, &landed.durable_cap, from->now,
                from->now_size, 0);
        }
        sim_put(out, dir.entries[i].name, landed.durable, landed.durable_size);
        free(landed.durable);
    }
    free(dir.entries);
}

static void *copy(const void *from, size_t bytes)
{
    void *to = malloc(bytes + 1);
    assert(to != NULL);
    if (bytes > 0)
        memcpy(to, from, bytes);
    return to;
}

void sim_clone(struct sim *out, const struct sim *s)
{
    *out = *s;
    out->files = copy(s->files, s->file_cap * sizeof *s->files);
    for (size_t i = 0; i < s->file_count; i++) {
        struct sim_file *to = &out->files[i];
        to->now = copy(to->now, to->now_cap);
        to->durable = copy(to->durable, to->durable_cap);
        to->ops = copy(to->ops, to->op_cap * sizeof *to->ops);
        to->log = copy(to->log, to->log_cap);
    }
    dir_copy(&out->now, &s->now);
    dir_copy(&out->durable, &s->durable);
    out->dir_ops = copy(s->dir_ops, s->dir_op_cap * sizeof *s->dir_ops);
}

struct sim_file *sim_find(struct sim *s, const char *name)
{
    int i = dir_find(&s->now, name);
    return i < 0 ? NULL : &s->files[s->now.entries[i].file];
}

void sim_put(struct sim *s, const char *name, const void *bytes, size_t n)
{
    struct sim_dir_op op = {.verb = SIM_CREATE};
    struct sim_file *f = sim_find(s, name);
    if (f == NULL) {
        op.file = file_new(s);
        snprintf(op.name, sizeof op.name, "%s", name);
        dir_apply(&s->now, &op);
        dir_apply(&s->durable, &op);
        f = &s->files[op.file];
    }
    f->now_size = 0;
    put(&f->now, &f->now_size, &f->now_cap, bytes, n, 0);
    file_synced(f);
}
