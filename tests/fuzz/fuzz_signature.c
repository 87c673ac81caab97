/*
 * fuzz_signature: the signer on hostile records.
 *
 * The first byte says what the rest is (see the table); the identity must be
 * the same the second time, bounded, and the printed id must parse.
 */
#include <assert.h>
#include <stdlib.h>

#include "pattern/signature.h"
#include "pattern/signature_compat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KIND_PY_SDK = SIGN_BODY_BYTES + 1, KIND_BACKEND, KIND_NAMES };

static void sign_twice(struct signer *s, const struct sign_input *in)
{
    char text[SIGNATURE_TEXT_BYTES];
    struct buf shown = {0};
    uint64_t parsed = 0;

    uint64_t id = signer_sign(s, in);
    signer_template(s, &shown);
    assert(shown.err == 0);
    buf_done(&shown);

    assert(signer_identity(s).len <= SIGN_MAX_IDENTITY_BYTES);
    assert(signature_parse(span_str(signature_format(text, id)), &parsed) == 0 && parsed == id);
    assert(signer_sign(s, in) == id);
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

    struct sign_input in = {.body = {data + 1, size - 1}};
    uint32_t kind = data[0] % 16; /* '1' is text, '2' a kvlist: corpus files can be read */
    switch (kind) {
    case KIND_PY_SDK:
        normalise(COMPAT_PY_SDK, in.body);
        break;
    case KIND_BACKEND:
        normalise(COMPAT_BACKEND, in.body);
        break;
    case KIND_NAMES:
        in.event_name = in.body;
        sign_twice(s, &in);
        in.event_name = (struct span){0};
        in.template_attr = in.body;
        sign_twice(s, &in);
        in.template_attr = (struct span){0};
        in.exception_type = in.body;
        in.body_kind = SIGN_BODY_STRING;
        sign_twice(s, &in);
        break;
    default:
        in.body_kind = kind < KIND_PY_SDK ? (enum sign_body_kind)kind : SIGN_BODY_STRING;
        sign_twice(s, &in);
    }
    return 0;
}
