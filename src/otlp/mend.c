/* mend: a request in protobuf, rewritten around what is damaged in it. */
#include "otlp/mend.h"

#include <assert.h>
#include <string.h>

#include "otlp/logs_schema.h"
#include "util/utf8.h"

const char *repair_name(enum repair r)
{
    static const char *const names[] = {
#define X(name, text) [REPAIR_##name] = text,
        REPAIRS(X)
#undef X
    };
    return names[r];
}

void logs_mended_done(struct logs_mended *m)
{
    buf_done(&m->tally);
}

int logs_mended_reject(struct logs_mended *m, uint32_t resource_index, size_t bytes, int code,
                       const char *why)
{
    size_t n = m->tally.len / sizeof(struct logs_rejected);
    struct logs_rejected *last =
        n > 0 ? (struct logs_rejected *)(void *)m->tally.base + n - 1 : NULL;
    m->tally.budget = m->budget;
    if (last != NULL && last->resource_index == resource_index) {
        last->records++;
        last->bytes += bytes;
    } else {
        const struct logs_rejected row = {resource_index, 1, bytes};
        buf_append(&m->tally, span_of(&row, sizeof row));
    }
    if (m->tally.err != 0)
        return m->tally.err;
    if (m->rejected++ == 0)
        m->code = err_set(&m->first, code, "%s", why);
    return 0;
}

/* ---- protobuf ---------------------------------------------------------- */

struct mender {
    struct buf *out;
    struct logs_mended *mended;
    size_t growth;      /* of all strings repaired */
    uint32_t resources; /* begun so far */
    uint32_t records;   /* met so far, for messages */
};

static int append_text(struct mender *m, uint32_t number, struct span text)
{
    struct wire_nested n;
    const uint8_t *at = text.base, *stop = text.base + text.len;
    wire_begin(m->out, number, text.len, &n);
    while (at < stop) {
        bool is_sound;
        size_t step = utf8_step(at, stop, &is_sound);
        if (is_sound) {
            buf_append(m->out, span_of(at, step));
        } else {
            buf_append(m->out, SPAN(UTF8_REPLACEMENT));
            m->growth += UTF8_REPLACEMENT_BYTES - step;
            m->mended->repairs[REPAIR_UTF8]++;
        }
        at += step;
        if (m->growth > MEND_GROWTH_BYTES)
            return ERR_UTF8;
    }
    wire_end(m->out, &n);
    return m->out->err;
}

/* The fields of a message that is sound but for its strings. */
static int rewrite(struct mender *m, enum message in, struct span message, unsigned depth)
{
    struct wire w;
    struct wire_field f;
    int rc = 0;
    if (depth > LOGS_MAX_DEPTH)
        return ERR_TOO_DEEP;
    wire_init(&w, message);
    while (rc == 0 && wire_next(&w, &f)) {
        int action = logs_action(in, f.number, f.type);
        if (action < 0)
            return action;
        if (action >= ENTER) {
            struct wire_nested n;
            wire_begin(m->out, f.number, f.bytes.len, &n);
            rc = rewrite(m, (enum message)(action - ENTER), f.bytes, depth + 1);
            wire_end(m->out, &n);
        } else if (action == STRING && !utf8_is_valid(f.bytes)) {
            rc = append_text(m, f.number, f.bytes);
        } else {
            buf_append(m->out, f.whole);
            rc = m->out->err;
        }
    }
    return rc < 0 ? rc : w.err != 0 ? w.err : m->out->err;
}

/* A message `depth` deep, as it came where it is sound, else with its strings mended. On failure
 * nothing of it stays. */
static int append_sound(struct mender *m, enum message kind, const struct wire_field *f,
                        unsigned depth)
{
    size_t before = m->out->len;
    const uint64_t repairs = m->mended->repairs[REPAIR_UTF8];
    int rc = logs_check_message(f->bytes, kind, depth);
    if (rc == 0) {
        buf_append(m->out, f->whole);
        return m->out->err;
    }
    if (rc != ERR_UTF8)
        return rc;
    struct wire_nested n;
    wire_begin(m->out, f->number, f->bytes.len, &n);
    rc = rewrite(m, kind, f->bytes, depth);
    if (rc == 0) /* strings come before other damage: is there any? */
        rc = logs_check_message(span_of(m->out->base + n.content, m->out->len - n.content), kind,
                                depth);
    if (rc == 0) {
        wire_end(m->out, &n);
        rc = m->out->err;
    }
    if (rc < 0) {
        m->out->len = before;
        m->mended->repairs[REPAIR_UTF8] = repairs;
    }
    return rc;
}

static bool is_fault_of_input(int rc)
{
    return rc == ERR_MORE || rc == ERR_MALFORMED || rc == ERR_TOO_DEEP || rc == ERR_UTF8;
}

static int mend_record(struct mender *m, const struct wire_field *f)
{
    int rc = append_sound(m, RECORD, f, RECORD_DEPTH);
    m->records++;
    if (rc == 0 || !is_fault_of_input(rc))
        return rc;
    struct error why;
    err_set(&why, rc, "log record %u of the request: %s", m->records, err_text(rc));
    return logs_mended_reject(m->mended, m->resources - 1, f->bytes.len, rc, why.text);
}

static int mend_level(struct mender *m, enum message in, struct span message, unsigned depth);

/* One field of what stands around records. */
static int mend_field(struct mender *m, enum message in, const struct wire_field *f, unsigned depth)
{
    int action = logs_action(in, f->number, f->type);
    struct wire_nested n;
    if (action < 0)
        return action;
    if (action == STRING && !utf8_is_valid(f->bytes))
        return append_text(m, f->number, f->bytes);
    if (action == ENTER + RECORD)
        return mend_record(m, f);
    if (action < ENTER && depth + f->groups >= LOGS_MAX_DEPTH)
        return ERR_TOO_DEEP;
    if (action < ENTER) {
        buf_append(m->out, f->whole);
        return m->out->err;
    }
    enum message kind = (enum message)(action - ENTER);
    if (kind != RESOURCE_LOGS && kind != SCOPE_LOGS)
        return append_sound(m, kind, f, depth + 1);
    m->resources += kind == RESOURCE_LOGS;
    wire_begin(m->out, f->number, f->bytes.len, &n);
    int rc = mend_level(m, kind, f->bytes, depth + 1);
    wire_end(m->out, &n);
    return rc < 0 ? rc : m->out->err;
}

static int mend_level(struct mender *m, enum message in, struct span message, unsigned depth)
{
    struct wire w;
    struct wire_field f;
    int rc = 0;
    wire_init(&w, message);
    while (rc == 0 && wire_next(&w, &f))
        rc = mend_field(m, in, &f, depth);
    return rc < 0 ? rc : w.err;
}

int logs_mend(struct span request, struct buf *out, struct logs_count *count, struct logs_mended *m)
{
    struct mender mender = {.out = out, .mended = m};
    size_t before = out->len;
    int rc = buf_reserve(out, request.len);
    if (rc == 0)
        rc = mend_level(&mender, REQUEST, request, 0);
    if (rc == 0) {
        rc = logs_check(span_of(out->base + before, out->len - before), count);
        assert(rc == 0);
    }
    if (rc < 0)
        out->len = before;
    return rc;
}

/* ---- JSON text --------------------------------------------------------- */

#define ESCAPE_BYTES 6 /* \ud800 */

/* The value of \uXXXX at `at`; -1: that is not there. */
static int escape_at(const uint8_t *at, const uint8_t *stop)
{
    int value = 0;
    if (stop - at < ESCAPE_BYTES || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < ESCAPE_BYTES; i++) {
        int c = at[i] | 0x20;
        int digit = at[i] >= '0' && at[i] <= '9' ? at[i] - '0'
                    : c >= 'a' && c <= 'f'       ? c - 'a' + 10
                                                 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The length of an escape; *is_lone: it is half of a surrogate pair without the other. */
static size_t escape_step(const uint8_t *at, const uint8_t *stop, bool *is_lone)
{
    int value = escape_at(at, stop);
    *is_lone = value >= 0xd800 && value <= 0xdfff;
    if (value < 0) /* of two characters; the last backslash of a text that is cut off */
        return stop - at < 2 || at[1] >= 0x80 ? 1 : 2;
    if (value >= 0xd800 && value < 0xdc00) {
        int second = escape_at(at + ESCAPE_BYTES, stop);
        *is_lone = second < 0xdc00 || second > 0xdfff;
        return *is_lone ? ESCAPE_BYTES : 2 * (size_t)ESCAPE_BYTES;
    }
    return ESCAPE_BYTES;
}

int json_text_mend(struct span text, struct buf *out, uint64_t *repairs)
{
    const uint8_t *at = text.base, *stop = text.base + text.len, *copied = text.base;
    size_t before = out->len, growth = 0;
    uint64_t n = 0;
    while (at < stop) {
        bool is_sound = true, is_lone = false;
        size_t step =
            *at == '\\' ? escape_step(at, stop, &is_lone) : utf8_step(at, stop, &is_sound);
        if (is_sound && !is_lone) {
            at += step;
            continue;
        }
        if (n++ == 0 && buf_reserve(out, text.len) < 0)
            return out->err;
        buf_append(out, span_of(copied, (size_t)(at - copied)));
        buf_append(out, SPAN(UTF8_REPLACEMENT));
        growth += step < UTF8_REPLACEMENT_BYTES ? UTF8_REPLACEMENT_BYTES - step : 0;
        at += step;
        copied = at;
        if (growth > MEND_GROWTH_BYTES) {
            out->len = before;
            return ERR_UTF8;
        }
    }
    if (n == 0)
        return 0;
    buf_append(out, span_of(copied, (size_t)(stop - copied)));
    *repairs += n;
    if (out->err != 0)
        out->len = before;
    return out->err != 0 ? out->err : 1;
}
