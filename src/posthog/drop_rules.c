/* drop_rules: conditions as leaves, and keep rules as what must not hold. */
#include "posthog/drop_rules.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "posthog/ours.h"
#include "util/json.h"

/* Stored bodies that are no texts: maps and lists as JSON, numbers and booleans. */
#define NO_TEXT "^\\s*[\\[{]|^-?[0-9][0-9.eE+-]*$|^(true|false|null)?$"
#define NO_PLAIN "^\\s*[\\[{]" /* of an attribute, whose numbers are texts here as well */
/* Words by which a line without a severity is an error here (pattern/signature_hint.c), and more.
 */
#define LOOKS_BAD \
    "\\b(e|err|error|eror|fail|failed|failure|f|fatal|crit|critical|emerg|emergency|alert|severe|" \
    "panic|dpanic|traceback)\\b|error|exception|caused " \
    "by|^\\W*[ef]\\d{4}\\b|level\\W{1,4}[5-9]\\d"

static const char *const level_texts[] = {
    [LEVEL_TRACE] = "trace", [LEVEL_DEBUG] = "debug", [LEVEL_INFO] = "info",
    [LEVEL_WARN] = "warn",   [LEVEL_ERROR] = "error", [LEVEL_FATAL] = "fatal",
};

/* What a leaf is about. */
struct about {
    const char *type;
    struct span key;
    bool may_miss; /* an attribute: without it nothing holds but is_not_set */
};
static const struct about of_body = {"log", {(const uint8_t *)"message", 7}, false};
static const struct about of_severity = {
    "log_attribute", {(const uint8_t *)"severity_text", 13}, false};
static const struct about of_service = {
    "log_resource_attribute", {(const uint8_t *)"service.name", 12}, false};

static struct about of_attribute(struct span key)
{
    return (struct about){"log_attribute", key, true};
}

/* One rule in the making. */
struct draft {
    struct json json;
    struct buf text;
    unsigned nodes;
    bool has_case; /* a text of which case would count here */
};

/* ---- leaves ------------------------------------------------------------ */

static void open_group(struct draft *d, const char *type)
{
    d->nodes++;
    json_begin(&d->json, NULL);
    json_str(&d->json, "type", type);
    json_begin_list(&d->json, "values");
}

static void close_group(struct draft *d)
{
    json_end_list(&d->json);
    json_end(&d->json);
}

static void open_leaf(struct draft *d, const struct about *a, const char *operator)
{
    d->nodes++;
    json_begin(&d->json, NULL);
    json_text(&d->json, "key", a->key);
    json_str(&d->json, "type", a->type);
    json_str(&d->json, "operator", operator);
}

static void add_leaf(struct draft *d, const struct about *a, const char *operator,
                     struct span value)
{
    open_leaf(d, a, operator);
    if (value.base != NULL)
        json_text(&d->json, "value", value);
    json_end(&d->json);
}

static void add_levels(struct draft *d, const char *operator, unsigned levels)
{
    open_leaf(d, &of_severity, operator);
    json_begin_list(&d->json, "value");
    for (int l = 0; l < LEVEL_COUNT; l++)
        if ((levels >> l & 1) != 0)
            json_str(&d->json, NULL, level_texts[l]);
    json_end_list(&d->json);
    json_end(&d->json);
}

static bool has_letters(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (isalpha(s.base[i]) || s.base[i] >= 0x80)
            return true;
    return false;
}

/* A glob as RE2: anchored, `*` is any run. A dot matches a newline there. */
static void glob_as_regex(struct buf *out, struct span glob)
{
    buf_append_byte(out, '^');
    for (size_t i = 0; i < glob.len; i++) {
        uint8_t c = glob.base[i];
        if (c == '*')
            buf_append_str(out, ".*");
        else if (strchr("\\.+?()|[]{}^$", c) != NULL && c != 0)
            buf_printf(out, "\\%c", c);
        else
            buf_append_byte(out, c);
    }
    buf_append_byte(out, '$');
}

/* The glob holds, or does not. */
static void add_glob(struct draft *d, const struct about *a, struct span glob, bool is_not)
{
    bool has_star = glob.len > 0 && memchr(glob.base, '*', glob.len) != NULL;
    d->has_case |= has_letters(glob);
    if (!has_star) {
        add_leaf(d, a, is_not ? "is_not" : "exact", glob);
        return;
    }
    struct buf regex = {0};
    glob_as_regex(&regex, glob);
    add_leaf(d, a, is_not ? "not_regex" : "regex", buf_span(&regex));
    if (regex.err != 0)
        d->text.err = regex.err;
    buf_done(&regex);
    /* Here the glob is held against texts alone. */
    if (!is_not && glob.base[0] == '*' && a != &of_service)
        add_leaf(d, a, "not_regex", a == &of_body ? SPAN(NO_TEXT) : SPAN(NO_PLAIN));
}

/* ---- what is never dropped --------------------------------------------- */

/* Names that a leaf reads as something else than an attribute. */
static bool is_reserved(struct span key)
{
    static const char *const names[] = {"service.name", "severity_text", "level", "message"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_eq(key, span_str(names[i])))
            return true;
    return false;
}

static unsigned conditions_said(const struct rules_matcher *m)
{
    unsigned n = (m->levels != 0) + (m->service.base != NULL) + (m->body.base != NULL);
    for (unsigned i = 0; i < m->attributes; i++)
        n += !is_reserved(m->attribute[i].key);
    return n;
}

static void add_attribute_not(struct draft *d, struct span key, struct span glob)
{
    struct about a = of_attribute(key);
    add_leaf(d, &a, "is_not_set", (struct span){0});
    add_glob(d, &a, glob, true);
}

/* Not what a keep rule keeps: one of its conditions does not hold. Those that cannot be said are
 * taken to hold: then more is left alone. */
static void add_not_kept(struct draft *d, const struct rules_matcher *keep)
{
    open_group(d, "OR");
    if (keep->levels != 0)
        add_levels(d, "is_not", keep->levels);
    if (keep->service.base != NULL)
        add_glob(d, &of_service, keep->service, true);
    if (keep->body.base != NULL)
        add_glob(d, &of_body, keep->body, true);
    for (unsigned i = 0; i < keep->attributes; i++)
        if (!is_reserved(keep->attribute[i].key))
            add_attribute_not(d, keep->attribute[i].key, keep->attribute[i].value);
    close_group(d);
}

static void add_exceptions(struct draft *d, const struct rules *rules,
                           const struct drop_rules_opts *opts)
{
    static const char *const deciding[] = {"exception.type", "sampling.priority"};
    unsigned count;
    const struct rules_matcher *keep = rules_matchers(rules, true, &count);
    add_levels(d, "is_not", 1u << LEVEL_ERROR | 1u << LEVEL_FATAL);
    add_leaf(d, &of_severity, "is_not", SPAN("unknown")); /* a number above FATAL's */
    for (size_t i = 0; i < ARRAY_LEN(deciding); i++) {
        struct about a = of_attribute(span_str(deciding[i]));
        add_leaf(d, &a, "is_not_set", (struct span){0});
    }
    if (opts->severity_from_text)
        add_leaf(d, &of_body, "not_regex", SPAN(LOOKS_BAD));
    for (unsigned i = 0; i < count; i++)
        add_not_kept(d, &keep[i]);
}

/* ---- notes and rules --------------------------------------------------- */

static int note(struct drop_rules *out, bool is_warning, const char *what, const char *why)
{
    struct drop_note *notes = realloc(out->notes, (out->note_count + 1) * sizeof *notes);
    if (notes == NULL)
        return ERR_NOMEM;
    out->notes = notes;
    struct drop_note *n = &notes[out->note_count++];
    *n = (struct drop_note){.is_warning = is_warning, .why = why};
    snprintf(n->what, sizeof n->what, "%s", what);
    return 0;
}

static void draft_begin(struct draft *d, const struct rules *rules,
                        const struct drop_rules_opts *opts)
{
    *d = (struct draft){.nodes = 0};
    d->json = json_on(&d->text);
    json_begin(&d->json, NULL);
    json_key(&d->json, SPAN("filter_group"));
    open_group(d, "AND");
    add_exceptions(d, rules, opts);
    d->has_case = false; /* ignoring it in what is left alone leaves more alone */
}

/* Takes the draft. */
static int draft_end(struct draft *d, struct drop_rules *out, const char *what)
{
    close_group(d);
    json_end(&d->json);
    int rc = d->text.err;
    if (rc == 0 && d->nodes > DROP_RULE_NODES_MAX) {
        buf_done(&d->text);
        return note(out, false, what,
                    "with all keep rules it has more conditions than PostHog takes");
    }
    struct drop_rule *rules = rc < 0 ? NULL : realloc(out->rules, (out->count + 1) * sizeof *rules);
    if (rules == NULL) {
        buf_done(&d->text);
        return rc < 0 ? rc : ERR_NOMEM;
    }
    out->rules = rules;
    struct drop_rule *r = &rules[out->count++];
    *r = (struct drop_rule){.config = {0}};
    snprintf(r->name, sizeof r->name, POSTHOG_PREFIX "%s", what);
    buf_move(&r->config, &d->text);
    return d->has_case ? note(out, true, what,
                              "PostHog's rules ignore case: it may drop what differs in case from "
                              "what is dropped here")
                       : 0;
}

/* Why a drop rule cannot be said at all; NULL: it can. */
static const char *why_not(const struct rules *rules, const struct rules_matcher *m)
{
    unsigned count;
    const struct rules_matcher *keep = rules_matchers(rules, true, &count);
    if (m != NULL && m->has_pattern)
        return "a pattern is more than a regular expression can tell";
    if (m != NULL && m->levels != 0 && (m->levels & ((1u << LEVEL_ERROR) - 1)) == 0)
        return "it drops nothing: errors are always kept";
    for (unsigned i = 0; m != NULL && i < m->attributes; i++)
        if (is_reserved(m->attribute[i].key))
            return "an attribute of that name is read as something else there";
    for (unsigned i = 0; i < count; i++)
        if (conditions_said(&keep[i]) == 0)
            return "a keep rule comes before it that cannot be said there";
    return NULL;
}

static int say_drop_rule(struct drop_rules *out, const struct rules *rules,
                         const struct drop_rules_opts *opts, unsigned place)
{
    struct draft d;
    unsigned count;
    char what[DROP_RULE_NAME_BYTES];
    const struct rules_matcher *m = rules_matchers(rules, false, &count) + place;
    snprintf(what, sizeof what, "drop[%u]", place);
    const char *why = why_not(rules, m);
    if (why != NULL)
        return note(out, false, what, why);
    draft_begin(&d, rules, opts);
    if (m->levels != 0)
        add_levels(&d, "exact", m->levels & ((1u << LEVEL_ERROR) - 1));
    if (m->service.base != NULL)
        add_glob(&d, &of_service, m->service, false);
    if (m->body.base != NULL)
        add_glob(&d, &of_body, m->body, false);
    for (unsigned i = 0; i < m->attributes; i++) {
        struct about a = of_attribute(m->attribute[i].key);
        add_glob(&d, &a, m->attribute[i].value, false);
    }
    return draft_end(&d, out, what);
}

/* ---- rates ------------------------------------------------------------- */

/* A severity of which nothing is kept. */
static int say_level(struct drop_rules *out, const struct rules *rules,
                     const struct drop_rules_opts *opts, enum level level)
{
    enum rules_source source;
    struct draft d;
    char what[DROP_RULE_NAME_BYTES];
    uint64_t threshold = rules_level_threshold(rules, level, &source);
    double rate = rules_rate_of(threshold);
    snprintf(what, sizeof what, source == RULES_GLOBAL ? "global_rate of %s" : "severity_rates.%s",
             level_name(level));
    if (rate >= 1)
        return 0;
    if (rate > 0)
        return note(out, false, what,
                    "what PostHog samples carries no weight: counts would be wrong");
    if (rules_first(rules) > 0)
        return note(out, false, what,
                    "the first of each pattern are kept, which no rule there can say");
    if (rules_pattern_count(rules) > 0)
        return note(out, false, what,
                    "rates of patterns come before it, which no rule there can say");
    const char *why = why_not(rules, NULL);
    if (why != NULL)
        return note(out, false, what, why);
    struct about weight = of_attribute(SPAN("otel.logs.adjusted_count"));
    draft_begin(&d, rules, opts);
    add_levels(&d, "exact", 1u << level);
    add_leaf(&d, &weight, "is_not_set", (struct span){0}); /* 0: the context of an error, kept */
    return draft_end(&d, out, what);
}

static int note_rest(struct drop_rules *out, const struct rules *rules,
                     const struct drop_rules_opts *opts)
{
    const struct {
        bool applies;
        const char *what, *why;
    } rest[] = {
        {rules_pattern_count(rules) > 0, "pattern_rates",
         "a pattern is more than a regular expression can tell, and what PostHog samples carries "
         "no "
         "weight"},
        {rules_boost(rules) > 1, "anomaly_boost", "PostHog's rules know no anomalies"},
        {opts->has_budget, "sampling.budget",
         "PostHog's rate limits drop what comes last, errors too"},
        {opts->has_context, "sampling.error_context",
         "what PostHog drops it cannot give out later"},
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(rest) && rc == 0; i++)
        if (rest[i].applies)
            rc = note(out, false, rest[i].what, rest[i].why);
    if (rc == 0 && out->count > 0)
        rc = note(out, true, "all of them",
                  "records without a severity number whose severity text PostHog does not know are "
                  "info there; of an attribute that stands twice only the last is read there");
    return rc;
}

int drop_rules_of(struct drop_rules *out, const struct rules *rules,
                  const struct drop_rules_opts *opts)
{
    unsigned count;
    int rc = 0;
    (void)rules_matchers(rules, false, &count);
    *out = (struct drop_rules){.count = 0};
    for (unsigned i = 0; i < count && rc == 0; i++)
        rc = say_drop_rule(out, rules, opts, i);
    for (int l = 0; l < LEVEL_ERROR && rc == 0; l++)
        rc = say_level(out, rules, opts, (enum level)l);
    if (rc == 0)
        rc = note_rest(out, rules, opts);
    if (rc < 0)
        drop_rules_done(out);
    return rc;
}

void drop_rules_done(struct drop_rules *d)
{
    for (unsigned i = 0; i < d->count; i++)
        buf_done(&d->rules[i].config);
    free(d->rules);
    free(d->notes);
    *d = (struct drop_rules){.count = 0};
}
