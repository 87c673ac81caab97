/* document: one visit of the members, the first complaint wins. */
#include "policy/document.h"

#include "pipeline/signature.h"

struct reading {
    struct rules *rules;
    struct policy_notes notes;
    struct error *err;
    int rc;
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
        return refuse(r, m, "no such severity");
    if (!read_rate(r, m, &rate))
        return false;
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

static bool read_pattern(struct reading *r, const struct json_member *m)
{
    double rate;
    uint64_t signature;
    if (!read_rate(r, m, &rate))
        return false;
    if (signature_parse(m->key, &signature) < 0) {
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

static bool on_member(void *arg, const struct json_member *m)
{
    static const struct {
        const char *outer, *key; /* key NULL: any */
        bool (*read)(struct reading *r, const struct json_member *m);
    } members[] = {
        {"", "global_rate", read_global},    {"", "anomaly_boost", read_boost},
        {"", "version", read_version},       {"", "severity_rates", read_maps},
        {"", "pattern_rates", read_maps},    {"severity_rates", NULL, read_severity},
        {"pattern_rates", NULL, read_pattern},
    };
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (span_eq(m->outer, span_str(members[i].outer)) &&
            (members[i].key == NULL || span_eq(m->key, span_str(members[i].key))))
            return members[i].read(arg, m);
    return true;
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
    if (rc == 0 && !r.has_global && !r.has_severities)
        rc = err_set(err, ERR_MALFORMED, "policy: neither global_rate nor severity_rates");
    if (rc == 0 && !r.has_trace && r.debug_rate >= 0) /* older servers know no TRACE */
        rc = rules_set_level(r.rules, LEVEL_TRACE, r.debug_rate, err);
    if (rc == 0)
        rc = rules_inherit(r.rules, base);
    if (rc < 0) {
        rules_unref(r.rules);
        return rc;
    }
    rules_set_origin(r.rules, "server", r.version);
    *out = r.rules;
    *notes = r.notes;
    return 0;
}
