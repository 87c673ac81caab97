/*
 * fuzz_signature: the signer on hostile records.
 *
 * The first byte says what the rest is (see the table); the identity must be
 * the same the second time, bounded, and the printed id must parse.
 */
#include <assert.h>
#include <stdlib.h>

#include "pattern/plain_record.h"
#include "pattern/signature.h"
#include "pattern/signature_compat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KIND_PY_SDK = LOG_BYTES + 1, KIND_BACKEND, KIND_RECORD, KIND_PLAIN };

static void sign_twice(struct signer *s, const struct sign_input *in)
{
    char text[SIGNATURE_TEXT_BYTES];
    struct buf shown = {0};
    uint64_t parsed = 0;

    uint64_t id = signer_sign(s, in);
    signer_template(s, &shown);
    assert(shown.err == 0);
    buf_done(&shown);

    enum sign_level hint = signer_hint(s, in);
    assert(hint <= SIGN_LEVEL_FATAL && signer_hint(s, in) == hint);
    assert(signer_sign(s, in) == id);
    assert(signer_identity(s).len <= SIGN_MAX_IDENTITY_BYTES);
    assert(signature_parse(span_str(signature_format(text, id)), &parsed) == 0 && parsed == id);
    assert(signer_sign(s, in) == id);
    struct sign_input unknown = *in; /* whether an attribute counts is found out */
    unknown.is_plain = false;
    assert(signer_sign(s, &unknown) == id);
}

/* A LogRecord, as damaged as it may be, that is its own scope as well. */
static void sign_encoded(struct signer *s, struct span record)
{
    struct log_record r;
    if (log_record_read(&r, record) < 0)
        return;
    const struct sign_input in = {r.event_name, record, record, r.body, !r.may_name};
    sign_twice(s, &in);
}

static void sign_plain(struct signer *s, struct span text)
{
    struct buf record = {0}, scope_logs = {0};
    struct log_record r;
    if (plain_record_read(text, &record, &scope_logs) == 0) {
        assert(log_record_read(&r, buf_span(&record)) == 0); /* what it writes is sound */
        const struct sign_input in = {r.event_name, buf_span(&record), buf_span(&scope_logs),
                                      r.body, !r.may_name};
        sign_twice(s, &in);
    }
    buf_done(&record);
    buf_done(&scope_logs);
}

static void normalise(enum compat_mode mode, struct span text)
{
    char first[COMPAT_MD5_TEXT_BYTES], second[COMPAT_MD5_TEXT_BYTES];
    struct compat *c;
    if (compat_new(&c) < 0)
        abort();
    assert(compat_sign(c, mode, text, first) == 0 && compat_sign(c, mode, text, second) == 0);
    assert(memcmp(first, second, sizeof first) == 0);
    compat_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct signer *s; /* kept: what one record leaves behind must not matter */
    if (s == NULL && signer_new(&s) < 0)
        abort();
    if (size == 0)
        return 0;

    struct span text = {data + 1, size - 1};
    struct sign_input in = {0};
    uint32_t kind = data[0] % 16; /* '1' is text, '6' a kvlist: corpus files can be read */
    switch (kind) {
    case KIND_PY_SDK:
        normalise(COMPAT_PY_SDK, text);
        break;
    case KIND_BACKEND:
        normalise(COMPAT_BACKEND, text);
        break;
    case KIND_RECORD:
        sign_encoded(s, text);
        break;
    case KIND_PLAIN:
        sign_plain(s, text);
        break;
    default:
        in.body.kind = kind < KIND_PY_SDK ? (enum log_kind)kind : LOG_STRING;
        in.body.text = text;
        sign_twice(s, &in);
    }
    return 0;
}
