/* maps: entries of maps and lists, set, and printed as they were written. */
#include "config/maps.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "pattern/signature.h"

static const char *keep_text(struct config *cfg, const char *text)
{
    struct span copy = arena_copy(&cfg->arena, span_of(text, strlen(text) + 1));
    return (const char *)copy.base;
}

/* A note that begins with the same `same_bytes` bytes is replaced; 0: none is. */
static int add_note(struct config *cfg, struct config_note **list, const char *text,
                    size_t same_bytes)
{
    const char *kept = keep_text(cfg, text);
    if (kept == NULL)
        return ERR_TOO_BIG;
    for (; *list != NULL; list = &(*list)->next) {
        if (same_bytes > 0 && strncmp((*list)->text, text, same_bytes) == 0) {
            (*list)->text = kept;
            return 0;
        }
    }
    struct config_note *n = arena_alloc(&cfg->arena, sizeof *n);
    if (n == NULL)
        return ERR_TOO_BIG;
    n->text = kept;
    *list = n;
    return 0;
}

int config_note_reference(struct config *cfg, const char *path)
{
    return add_note(cfg, &cfg->references, path, strlen(path) + 1);
}

static int set_severity_rate(struct config *cfg, const char *key, const char *value,
                             struct error *err)
{
    static const char at[] = "sampling.severity_rates";
    int level = level_parse(span_str(key));
    if (level < 0)
        return err_set(err, ERR_CONFIG,
                       "%s: '%.50s' is not one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL", at, key);
    const char *name = level_name((enum level)level);
    double *rate = &cfg->sampling.severity_rate[level];
    const char *wanted = value_ratio.parse(rate, sizeof *rate, value);
    if (wanted != NULL)
        return err_set(err, ERR_CONFIG, "%s.%s: '%.100s' is not %s", at, name, value, wanted);
    if (level >= LEVEL_ERROR && *rate < 1.0)
        return err_set(err, ERR_CONFIG, "%s.%s: errors are always kept: the rate can only be 1", at,
                       name);
    return 0;
}

static int set_pattern_rate(struct config *cfg, const char *key, const char *value,
                            struct error *err)
{
    uint64_t signature;
    double rate;
    char id[SIGNATURE_TEXT_BYTES];
    struct buf line = {0};
    if (signature_parse(span_str(key), &signature) < 0)
        return err_set(err, ERR_CONFIG,
                       "sampling.pattern_rates: '%.50s' is not a pattern id such as "
                       "lps1:0123456789abcdef",
                       key);
    const char *wanted = value_ratio.parse(&rate, sizeof rate, value);
    if (wanted != NULL)
        return err_set(err, ERR_CONFIG, "sampling.pattern_rates: %s: '%.50s' is not %s", key, value,
                       wanted);
    buf_printf(&line, "\"%s\": ", signature_format(id, signature));
    value_ratio.print(&rate, &line);
    buf_append_byte(&line, '\0');
    int rc = line.err;
    if (rc == 0) /* one line for an id: the later setting wins */
        rc = add_note(cfg, &cfg->sampling.pattern_rates, (char *)line.base, SIGNATURE_TEXT_BYTES);
    buf_done(&line);
    return rc < 0 ? rc : rules_set_pattern(cfg->sampling.rules, signature, rate, err);
}

static int set_header(struct config *cfg, const char *key, const char *value, struct error *err)
{
    char line[CONFIG_TEXT_BYTES];
    unsigned at = 0; /* where this name is, or the end */
    size_t n = strlen(key);
    while (at < cfg->otlphttp.header_count &&
           (strncasecmp(cfg->otlphttp.headers[at], key, n) != 0 ||
            cfg->otlphttp.headers[at][n] != ':'))
        at++;
    if (at == CONFIG_HEADERS_MAX)
        return err_set(err, ERR_CONFIG, "exporters.otlphttp.headers: more than %d",
                       CONFIG_HEADERS_MAX);
    if (strpbrk(key, " :\r\n\t") != NULL || *key == '\0' || strpbrk(value, "\r\n") != NULL)
        return err_set(err, ERR_CONFIG, "exporters.otlphttp.headers: '%.50s' is not a header", key);
    if (snprintf(line, sizeof line, "%s: %s", key, value) >= (int)sizeof line)
        return err_set(err, ERR_CONFIG, "exporters.otlphttp.headers: %s is too long", key);
    const char *text = keep_text(cfg, line);
    if (text == NULL)
        return ERR_NOMEM;
    cfg->otlphttp.headers[at] = text;
    cfg->otlphttp.header_count += at == cfg->otlphttp.header_count;
    return 0;
}

/* A name is a kind in metrics and placeholders. */
static bool is_kind_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && n <= REDACT_PATTERN_NAME_BYTES && name[n] == '\0' &&
           redact_kind_parse(span_str(name)) < 0;
}

static int set_redact_pattern(struct config *cfg, const char *key, const char *value,
                              struct error *err)
{
    static const char at[] = "redaction.patterns";
    struct redact_pattern *list = cfg->redaction.patterns;
    unsigned i = 0; /* where this name is, or the end */
    struct regex *compiled = NULL;
    struct error why = {{0}};
    while (i < cfg->redaction.pattern_count && strcmp(list[i].name, key) != 0)
        i++;
    if (!is_kind_name(key))
        return err_set(err, ERR_CONFIG,
                       "%s: '%.50s' must be of small letters, digits and _, at most %d, and not a "
                       "detector's name",
                       at, key, REDACT_PATTERN_NAME_BYTES);
    if (i == REDACT_PATTERNS_MAX)
        return err_set(err, ERR_CONFIG, "%s: more than %d", at, REDACT_PATTERNS_MAX);
    int rc = regex_new(&compiled, span_str(value), 0, &why);
    regex_free(compiled);
    if (rc == ERR_CONFIG)
        return err_set(err, rc, "%s.%s: %s", at, key, why.text);
    if (rc < 0)
        return rc;
    snprintf(list[i].name, sizeof list[i].name, "%s", key);
    snprintf(list[i].regex, sizeof list[i].regex, "%s", value);
    cfg->redaction.pattern_count += i == cfg->redaction.pattern_count;
    return 0;
}

int config_add_rule(struct config *cfg, bool keep, const struct rules_matcher *m, const char *yaml,
                    struct error *err)
{
    int rc = rules_add_matcher(cfg->sampling.rules, keep, m, err);
    return rc < 0 ? rc : add_note(cfg, keep ? &cfg->sampling.keep : &cfg->sampling.drop, yaml, 0);
}

const char *config_rule_text(const void *cfg, bool keep, unsigned place)
{
    const struct config *c = cfg;
    const struct config_note *n = keep ? c->sampling.keep : c->sampling.drop;
    while (n != NULL && place-- > 0)
        n = n->next;
    return n == NULL ? "" : n->text;
}

/* ---- printing ---------------------------------------------------------- */

static void print_notes(const void *at, int indent, const char *bullet, struct buf *out)
{
    for (const struct config_note *n = *(struct config_note *const *)at; n != NULL; n = n->next)
        buf_printf(out, "%*s%s%s\n", indent, "", bullet, n->text);
}

static void print_map(const void *at, int indent, struct buf *out)
{
    print_notes(at, indent, "", out);
}

static void print_list(const void *at, int indent, struct buf *out)
{
    print_notes(at, indent, "- ", out);
}

/* The values may be credentials. */
static void print_headers(const void *at, int indent, struct buf *out)
{
    for (const char *const *h = at; *h != NULL; h++)
        buf_printf(out, "%*s\"%.*s\": \"[redacted]\"\n", indent, "", (int)strcspn(*h, ":"), *h);
}

static void print_redact_patterns(const void *at, int indent, struct buf *out)
{
    for (const struct redact_pattern *p = at; p->name[0] != '\0'; p++) {
        buf_printf(out, "%*s%s: ", indent, "", p->name);
        value_print_quoted(out, p->regex);
        buf_append_byte(out, '\n');
    }
}

const struct value_kind value_severity_rates = {.set_entry = set_severity_rate};
const struct value_kind value_pattern_rates = {.set_entry = set_pattern_rate,
                                               .print_entries = print_map};
const struct value_kind value_headers = {.set_entry = set_header, .print_entries = print_headers};
const struct value_kind value_keep = {.print_entries = print_list};
const struct value_kind value_drop = {.print_entries = print_list};
const struct value_kind value_redact_patterns = {
    .set_entry = set_redact_pattern, .print_entries = print_redact_patterns, .is_inline = true};
