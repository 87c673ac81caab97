/* capture: a look at the first bytes, then one loop. */
#include "otlp/capture.h"

#include <inttypes.h>
#include <string.h>

#include "otlp/mend.h"

static struct span skip_blanks(struct span s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.base[0]) != NULL && s.base[0] != '\0')
        s = span_skip(s, 1);
    return s;
}

static struct span trim(struct span s)
{
    s = skip_blanks(s);
    while (s.len > 0 && strchr(" \t\r\n", s.base[s.len - 1]) != NULL && s.base[s.len - 1] != '\0')
        s.len--;
    return s;
}

bool capture_is_json(struct span text)
{
    text = skip_blanks(text);
    if (text.len == 0 || text.base[0] != '{')
        return false;
    return span_starts(skip_blanks(span_skip(text, 1)), SPAN("\"resourceLogs\""));
}

int capture_init(struct capture *c, bool is_strict)
{
    *c = (struct capture){.decoder = json_decoder_new(NULL), .is_strict = is_strict};
    return c->decoder == NULL ? ERR_NOMEM : 0;
}

void capture_done(struct capture *c)
{
    json_decoder_free(c->decoder);
    buf_done(&c->json);
    buf_done(&c->request);
}

/* One document, into c->request. */
static int decode(struct capture *c, struct span text, struct logs_count *count,
                  struct logs_mended *mended, struct error *err)
{
    if (text.len > CAPTURE_DOCUMENT_BYTES)
        return err_set(err, ERR_TOO_BIG, "a document of more than %u bytes",
                       CAPTURE_DOCUMENT_BYTES);
    buf_clear(&c->json);
    buf_clear(&c->request);
    int rc = buf_reserve(&c->json, text.len + JSON_PADDING_BYTES);
    if (rc < 0)
        return rc;
    buf_append(&c->json, text);
    return json_logs_decode(c->decoder, &c->json, &c->request, count, c->is_strict ? NULL : mended,
                            err);
}

static const char *why_of(const struct error *err, int rc)
{
    return err->text[0] != '\0' ? err->text : err_text(rc);
}

/* What came of a document of line `number` goes on. Returns what the sink says, or ERR_NOMEM. */
static int hand_on(struct capture *c, const struct capture_sink *sink, size_t number, size_t end,
                   int rc, const struct logs_count *count, struct logs_mended *mended,
                   const struct error *err)
{
    if (rc == 0 && mended->rejected > 0) {
        struct error left_out;
        err_set(&left_out, mended->code, "%" PRIu64 " of %" PRIu64 " records left out: %s",
                mended->rejected, mended->rejected + count->records, mended->first.text);
        sink->refused(sink->ctx, number, left_out.text);
    }
    if (rc == 0 && (mended->rejected == 0 || count->records > 0))
        rc = sink->request(sink->ctx, buf_span(&c->request), count, end);
    else if (rc < 0 && rc != ERR_NOMEM)
        sink->refused(sink->ctx, number, why_of(err, rc));
    logs_mended_done(mended);
    return rc > 0 || rc == ERR_NOMEM ? rc : 0;
}

static struct span line_at(struct span rest)
{
    const uint8_t *end = rest.len == 0 ? NULL : memchr(rest.base, '\n', rest.len);
    return end == NULL ? rest : span_of(rest.base, (size_t)(end - rest.base));
}

/* Some line is a request from its beginning to its end, so the others were meant to be: the first
 * may be torn, where a file was cut or a write broke off. */
static bool has_lines(struct span text)
{
    while (text.len > 0) {
        struct span raw = line_at(text), line = trim(raw);
        if (capture_is_json(line) && line.base[line.len - 1] == '}')
            return true;
        text = span_skip(text, raw.len < text.len ? raw.len + 1 : raw.len);
    }
    return false;
}

static int read_lines(struct capture *c, struct span text, const struct capture_sink *sink)
{
    size_t number = 0, at = 0;
    while (at < text.len) {
        struct error err = {{0}};
        struct logs_count count;
        struct logs_mended mended = {0};
        struct span line = line_at(span_skip(text, at));
        at += line.len < text.len - at ? line.len + 1 : line.len;
        number++;
        line = trim(line);
        if (line.len == 0)
            continue;
        int rc = decode(c, line, &count, &mended, &err);
        rc = hand_on(c, sink, number, at, rc, &count, &mended, &err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A request in protobuf that is not sound, and no text. */
static int read_damaged(struct capture *c, struct span text, const struct capture_sink *sink)
{
    struct logs_count count;
    struct logs_mended mended = {0};
    buf_clear(&c->request);
    if (!c->is_strict && logs_mend(text, &c->request, &count, &mended) == 0)
        return hand_on(c, sink, 0, text.len, 0, &count, &mended, NULL);
    logs_mended_done(&mended);
    sink->refused(sink->ctx, 0, "neither an OTLP request in protobuf nor OTLP JSON");
    return 0;
}

/* Does the text begin with a line that is a document? */
static bool begins_with_document(struct capture *c, struct span line)
{
    struct logs_count count;
    struct logs_mended mended = {0};
    struct error unused;
    int rc = decode(c, line, &count, &mended, &unused);
    logs_mended_done(&mended);
    return rc == 0;
}

int capture_read(struct capture *c, struct span text, const struct capture_sink *sink)
{
    struct logs_count count;
    struct logs_mended mended = {0};
    struct error err = {{0}};
    bool is_json = text.len > 0 && text.base[0] == '{'; /* no request in protobuf begins so */
    if (!is_json && logs_check(text, &count) == 0)
        return sink->request(sink->ctx, text, &count, text.len);

    struct span body = trim(text);
    if (body.len == 0 || (body.base[0] != '{' && !has_lines(body)))
        return read_damaged(c, text, sink);
    struct span line = trim(line_at(body));
    if (line.len == body.len || has_lines(body) || begins_with_document(c, line))
        return read_lines(c, text, sink);
    int rc = decode(c, body, &count, &mended, &err);
    if (rc < 0 && line.base[line.len - 1] == '}') { /* it looks like lines, each of them bad */
        logs_mended_done(&mended);
        return read_lines(c, text, sink);
    }
    return hand_on(c, sink, 0, text.len, rc, &count, &mended, &err);
}
