/* document: one visit of the members, the first complaint wins. */
#include "policy/document.h"

#include <ctype.h>

#include "pattern/signature.h"

#define MD5_TEXT_BYTES 32 /* a pattern id of older servers */

struct reading {
    struct rules *rules;
    struct policy_notes notes;
    struct error *err;
    int rc;
    bool strict; /* of a file */
    bool has_global, has_severities, has_trace;
    double debug_rate;
    int64_t version;
};

static bool refuse(struct reading *r, const struct json_member *m, const char *why)
{
    r->rc = err_set(r->err, ERR_CONFIG, "%.*s%s%.*s: %s", (int)m->outer.len,
                    (const char *)m->outer.base, m->outer.len > 0 ? "." : "",
                    (int)(m->key.len < 64 ? m->key.len : 64), (const char *)m->key.base, why);
    return false;
}

static bool number_of(const struct json_member *m, double *out)
{
    if (m->kind == JSON_INT)
        *out = (double)(int64_t)m->number;
    else if (m->kind == JSON_UINT)
        *out = (double)m->number;
    else if (m->kind == JSON_DOUBLE)
        *out = m->real;
    return m->kind == JSON_INT || m->kind == JSON_UINT || m->kind == JSON_DOUBLE;
}

static bool read_rate(struct reading *r, const struct json_member *m, double *rate)
{
    if (!number_of(m, rate) || !(*rate >= 0.0 && *rate <= 1.0))
        return refuse(r, m, "a rate is a number from 0 to 1");
    return true;
}

static bool read_severity(struct reading *r, const struct json_member *m)
{
    double rate;
    int level = level_parse(m->key);
    if (level < 0)
        return refuse(r, m, "no such severity: one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL");
    if (!read_rate(r, m, &rate))
        return false;
    if (level >= LEVEL_ERROR && rate < 1.0 && r->strict)
        return refuse(r, m, "errors are always kept: the rate can only be 1");
    if (level >= LEVEL_ERROR && rate < 1.0) {
        r->notes.raised++;
        rate = 1.0;
    }
    r->has_trace |= level == LEVEL_TRACE;
    if (level == LEVEL_DEBUG)
        r->debug_rate = rate;
    r->rc = rules_set_level(r->rules, (enum level)level, rate, r->err);
    return r->rc == 0;
}

static bool is_md5(struct span key)
{
    for (size_t i = 0; i < key.len; i++)
        if (!isxdigit(key.base[i]))
            return false;
    return key.len == MD5_TEXT_BYTES;
}

static bool read_pattern(struct reading *r, const struct json_member *m)
{
    double rate;
    uint64_t signature;
    if (!read_rate(r, m, &rate))
        return false;
    if (signature_parse(m->key, &signature) < 0) {
        if (r->strict && !is_md5(m->key))
            return refuse(r, m, "not a pattern id such as lps1:0123456789abcdef");
        r->notes.foreign_keys++;
        return true;
    }
    r->rc = rules_set_pattern(r->rules, signature, rate, r->err);
    return r->rc == 0;
}

static bool read_global(struct reading *r, const struct json_member *m)
{
    double rate;
    if (!read_rate(r, m, &rate))
        return false;
    r->has_global = true;
    r->rc = rules_set_global(r->rules, rate, r->err);
    return r->rc == 0;
}

static bool read_boost(struct reading *r, const struct json_member *m)
{
    double boost;
    if (!number_of(m, &boost))
        return refuse(r, m, "a factor is a number");
    r->rc = rules_set_boost(r->rules, boost, r->err);
    return r->rc == 0;
}

static bool read_version(struct reading *r, const struct json_member *m)
{
    if (m->kind != JSON_INT)
        return refuse(r, m, "a version is a whole number");
    r->version = (int64_t)m->number;
    return true;
}

static bool read_maps(struct reading *r, const struct json_member *m)
{
    if (m->kind != JSON_OBJECT)
        return refuse(r, m, "an object is wanted here");
    r->has_severities |= span_eq(m->key, SPAN("severity_rates"));
    return true;
}

/* What servers write beside the rates says nothing here; all else is a slip of the pen. */
static bool is_unknown(const struct json_member *m)
{
    static const char *const notes[] = {"reasoning", "generated_by", "llm_model", "created_at"};
    if (m->outer.len > 0)
        return false; /* reported at the member that it is in */
    for (size_t i = 0; i < ARRAY_LEN(notes); i++)
        if (span_eq(m->key, span_str(notes[i])))
            return false;
    return true;
}

static bool on_member(void *arg, const struct json_member *m)
{
    static const struct {
        const char *outer, *key; /* key NULL: any */
        bool (*read)(struct reading *r, const struct json_member *m);
    } members[] = {
        {"", "global_rate", read_global},      {"", "anomaly_boost", read_boost},
        {"", "version", read_version},         {"", "severity_rates", read_maps},
        {"", "pattern_rates", read_maps},      {"severity_rates", NULL, read_severity},
        {"pattern_rates", NULL, read_pattern},
    };
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (span_eq(m->outer, span_str(members[i].outer)) &&
            (members[i].key == NULL || span_eq(m->key, span_str(members[i].key))))
            return members[i].read(arg, m);
    return !((struct reading *)arg)->strict || !is_unknown(m) ||
           refuse(arg, m,
                  "no such member: global_rate, severity_rates, pattern_rates, "
                  "anomaly_boost and version are");
}

/* What makes rules of the members read. `rc`: how reading them ended. */
static int finish(struct reading *r, int rc, const struct rules *base, const char *origin,
                  struct rules **out, struct policy_notes *notes, struct error *err)
{
    if (rc == 0 && !r->has_global && !r->has_severities)
        rc = err_set(err, ERR_MALFORMED, "policy: neither global_rate nor severity_rates");
    if (rc == 0 && !r->has_trace && r->debug_rate >= 0) /* older servers know no TRACE */
        rc = rules_set_level(r->rules, LEVEL_TRACE, r->debug_rate, err);
    if (rc == 0)
        rc = rules_inherit(r->rules, base);
    if (rc < 0) {
        rules_unref(r->rules);
        return rc;
    }
    rules_set_origin(r->rules, origin, r->version);
    *out = r->rules;
    *notes = r->notes;
    return 0;
}

int policy_document_read(struct rules **out, struct json_object *json, struct span text,
                         const struct rules *base, struct policy_notes *notes, struct error *err)
{
    struct error inner = {{0}};
    struct reading r = {.err = &inner, .debug_rate = -1};
    int rc = rules_new(&r.rules);
    if (rc < 0)
        return rc;
    rc = json_object_visit_nested(json, text, on_member, &r);
    if (rc < 0)
        rc = err_set(err, ERR_MALFORMED, "policy: not a JSON object");
    if (rc == 0 && r.rc < 0) /* a value that rules.c refuses is the document's fault, too */
        rc = r.rc == ERR_CONFIG ? err_set(err, ERR_MALFORMED, "policy: %s", inner.text) : r.rc;
    return finish(&r, rc, base, "server", out, notes, err);
}

static int on_file_member(void *arg, const struct json_member *m, struct error *err)
{
    struct reading *r = arg;
    r->err = err;
    on_member(r, m);
    return r->rc;
}

int policy_document_read_file(struct rules **out, policy_visit_fn *visit, const char *name,
                              struct span text, const struct rules *base,
                              struct policy_notes *notes, struct error *err)
{
    struct reading r = {.debug_rate = -1, .strict = true};
    struct error inner = {{0}};
    int rc = rules_new(&r.rules);
    if (rc < 0)
        return rc;
    rc = visit(name, text, on_file_member, &r, err);
    if (rc < 0)
        return finish(&r, rc, base, "file", out, notes, err);
    rc = finish(&r, 0, base, "file", out, notes, &inner);
    return rc < 0 ? err_set(err, rc, "%s: %.300s", name, inner.text) : 0;
}
