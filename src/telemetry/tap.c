/* tap: a filter, a token bucket and a printer. */
#include "telemetry/tap.h"

#include <inttypes.h>
#include <string.h>

#include "pattern/signature.h"
#include "util/glob.h"
#include "util/json.h"
#include "util/unicode.h"

int tap_parse_severity(const char *text, unsigned *levels)
{
    struct span name = span_str(text);
    bool above = name.len > 0 && name.base[name.len - 1] == '+';
    name.len -= above;
    int level = level_parse(name);
    if (level < 0)
        return ERR_MALFORMED;
    *levels = 0;
    for (int l = level; l < (above ? LEVEL_COUNT : level + 1); l++)
        *levels |= 1u << l;
    return 0;
}

void tap_init(struct tap *t, const struct tap_filter *filter, uint32_t lines_per_s)
{
    if (lines_per_s == 0)
        lines_per_s = TAP_LINES_PER_S;
    uint32_t times = lines_per_s > TAP_LINES_PER_S ? lines_per_s / TAP_LINES_PER_S : 1;
    *t = (struct tap){.filter = *filter};
    token_bucket_init(&t->lines, lines_per_s);
    token_bucket_init(&t->bytes, (double)TAP_BYTES_PER_S * times);
}

/* The strings in a list or a map are in its encoded form as they are. */
static bool holds(const struct log_value *body, const char *text)
{
    bool has_text = body->kind == LOG_STRING || body->kind == LOG_ARRAY || body->kind == LOG_KVLIST;
    return has_text && body->text.len > 0 &&
           memmem(body->text.base, body->text.len, text, strlen(text)) != NULL;
}

bool tap_wants(const struct tap_filter *f, const struct subject *s, const struct decision *d)
{
    return (f->verdicts == 0 || (f->verdicts >> d->verdict & 1) != 0) &&
           (f->levels == 0 || (f->levels >> s->level & 1) != 0) &&
           (!f->has_pattern || f->pattern == s->signature || f->pattern == s->family) &&
           (f->service[0] == '\0' || glob_matches(span_str(f->service), s->group->service_name)) &&
           (f->grep[0] == '\0' || holds(&s->record->body, f->grep));
}

bool tap_admit(struct tap *t, uint64_t now_ms)
{
    uint64_t bytes = token_bucket_level(&t->bytes, now_ms);
    return token_bucket_level(&t->lines, now_ms) > 0 && bytes > 0;
}

void tap_shown(struct tap *t, size_t bytes)
{
    t->lines.tokens -= 1;
    t->bytes.tokens -= (double)bytes; /* below 0: the last line was longer than what was left */
    t->shown++;
}

static void write_body(struct json *j, const struct subject *s)
{
    const struct log_value *v = &s->record->body;
    switch (v->kind) {
    case LOG_STRING:
        json_text(j, "body", utf8_cut(v->text, TAP_BODY_BYTES));
        break;
    case LOG_INT:
        json_printf(j, "body", "\"%" PRId64 "\"", v->integer);
        break;
    case LOG_BOOL:
        json_str(j, "body", v->integer != 0 ? "true" : "false");
        break;
    case LOG_DOUBLE:
        json_printf(j, "body", "\"%.15g\"", v->real);
        break;
    default: /* what it consists of, as its pattern has it */
        json_text(j, "body", span_of(s->pattern->template_text, s->pattern->template_len));
    }
}

void tap_line(struct buf *out, const struct subject *s, const struct decision *d, uint64_t unix_ns)
{
    char id[SIGNATURE_TEXT_BYTES];
    double rate = d->verdict == VERDICT_DROPPED_BY_RULE ? 0 : rules_rate_of(d->threshold);
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_printf(&j, "time", "%.3f", (double)unix_ns / 1e9);
    json_text(&j, "service", utf8_cut(s->group->service_name, LEDGER_NAME_BYTES));
    json_str(&j, "severity", level_name(s->level));
    json_str(&j, "verdict", verdict_name(d->verdict));
    json_str(&j, "reason", reason_name(d->reason));
    json_printf(&j, "rate", "%.6g", rate);
    json_printf(&j, "threshold", "\"0x%014" PRIx64 "\"", d->threshold);
    json_str(&j, "pattern", signature_format(id, s->signature));
    json_str(&j, "family", signature_format(id, s->family));
    write_body(&j, s);
    json_end(&j);
    json_line(&j);
}

void tap_sums(struct buf *out, const struct tap *t)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_begin(&j, "tap");
    if (t->is_observing)
        json_bool(&j, "observing", true);
    json_u64(&j, "matched", t->matched);
    json_u64(&j, "shown", t->shown);
    json_u64(&j, "over_rate", t->over_rate);
    json_u64(&j, "slow", t->slow);
    json_end(&j);
    json_end(&j);
    json_line(&j);
}
