/* redact: hits become placeholders, and texts the record around them. */
#include "pipeline/redact.h"

#include <stdio.h>
#include <stdlib.h>

#include "otlp/edit.h"
#include "pipeline/redact_state.h"
#include "util/hash.h"

#define TEXTS_BYTES (256 << 20) /* changed texts of one record; the budget says no before */

/* ---- names ------------------------------------------------------------- */

static const char *const kind_names[] = {
#define X(name, text, on) text,
    REDACT_KIND_MAP(X)
#undef X
};

const char *redact_kind_name(unsigned kind)
{
    return kind_names[kind];
}

int redact_kind_parse(struct span name)
{
    for (unsigned i = 0; i < REDACT_KIND_COUNT; i++)
        if (span_eq(name, span_str(kind_names[i])))
            return (int)i;
    return -1;
}

const char *redact_stats_kind(const struct redact_stats *s, unsigned kind)
{
    return kind < REDACT_KIND_COUNT ? kind_names[kind] : s->pattern_names[kind - REDACT_KIND_COUNT];
}

const char *redact_name_of(const struct redactor *r, unsigned kind)
{
    return redact_stats_kind(&r->stats, kind);
}

const char *redact_where_name(enum redact_where w)
{
    static const char *const names[] = {
#define X(name, text) text,
        REDACT_WHERE_MAP(X)
#undef X
    };
    return names[w];
}

const char *redact_mode_name(enum redact_mode m)
{
    static const char *const names[] = {"off", "detect", "enforce"};
    return names[m];
}

const char *redact_action_name(enum redact_action a)
{
    static const char *const names[] = {"mask", "partial", "hash", "drop_attribute", "drop_record"};
    return names[a];
}

const char *redact_done_name(const struct redact_stats *s)
{
    return s->mode == REDACT_ENFORCE ? redact_action_name(s->action) : "detect";
}

/* ---- counts ------------------------------------------------------------ */

void redact_note(struct redactor *r, const struct redact_hit *hit)
{
    unsigned kind = hit->kind;
    r->found |= UINT64_C(1) << kind;
    if (r->is_quiet)
        return;
    if (r->opts.found != NULL) {
        const struct redact_found found = {redact_name_of(r, kind), hit->at, hit->len, r->where,
                                           r->named};
        r->opts.found(r->opts.ctx, &found);
    }
    r->stats.hits[kind][r->where]++;
    if (r->seen == NULL || r->service >= r->opts.max_services ||
        (r->seen[r->service] >> kind & 1) != 0)
        return;
    r->seen[r->service] |= UINT64_C(1) << kind;
    if (r->opts.seen != NULL)
        r->opts.seen(r->opts.ctx, redact_name_of(r, kind), r->where, r->service);
}

/* Begin to scan a text. False: there is none in it. */
static bool first_hit(struct redactor *r, struct span text, struct redact_hit *hit)
{
    if (r->patterns.count == 0 && redact_look_clears(&r->look, &r->detector.triggers, text))
        return false;
    redact_scan_init(&r->scan, &r->detector, &r->patterns, &r->look, text);
    return redact_scan_next(&r->scan, hit);
}

/* ---- records ----------------------------------------------------------- */

static enum redact_where where_of(const struct redactor *r, enum edit_place place)
{
    static const enum redact_where places[] = {
        [EDIT_BODY] = REDACT_IN_BODY,
        [EDIT_ATTRIBUTE] = REDACT_IN_ATTRIBUTE,
        [EDIT_FIELD] = REDACT_IN_FIELD,
    };
    return r->around != REDACT_WHERE_COUNT ? r->around : places[place];
}

/* What of a hit, or a secret name, is to be done in this place. */
static int decide(struct redactor *r, enum edit_place place)
{
    if (r->opts.mode != REDACT_ENFORCE && !r->is_shown)
        return EDIT_NOT;
    if (r->opts.action == REDACT_DROP_RECORD) {
        r->is_dropped = true;
        if (!r->is_quiet)
            return EDIT_NOT;
    }
    return r->opts.action == REDACT_DROP_ATTRIBUTE && place == EDIT_ATTRIBUTE ? EDIT_REMOVE
                                                                              : EDIT_REPLACE;
}

static int on_text(void *ctx, const struct edit_text *t, struct span *with)
{
    struct redactor *r = ctx;
    struct redact_hit hit;
    r->where = where_of(r, t->place);
    r->named = t->key;
    r->stats.scanned_bytes += r->is_quiet ? 0 : t->text.len;
    if (!first_hit(r, t->text, &hit))
        return EDIT_NOT;
    int what = decide(r, t->place);
    int rc = redact_replace(r, hit, what == EDIT_REPLACE ? &r->text : NULL);
    if (rc < 0 || what != EDIT_REPLACE)
        return rc < 0 ? rc : what;
    *with = arena_copy(&r->texts, buf_span(&r->text));
    return with->base != NULL ? EDIT_REPLACE : ERR_NOMEM;
}

/* A value that hides something: not a flag or a number with a point, and no placeholder. */
static bool is_value(struct span any_value)
{
    struct log_value v = {0};
    if (log_value_read(&v, any_value) < 0)
        return false;
    switch (v.kind) {
    case LOG_STRING:
    case LOG_BYTES:
        return !redact_is_placeholder(v.text);
    case LOG_INT:
    case LOG_ARRAY:
    case LOG_KVLIST:
        return true;
    default:
        return false;
    }
}

enum redact_name { NAME_PLAIN, NAME_EXEMPT, NAME_SECRET };

static enum redact_name judge_name(const struct redactor *r, struct span name)
{
    if (redact_name_is_exempt(&r->opts.names, name))
        return NAME_EXEMPT;
    return (r->opts.kinds >> REDACT_ATTRIBUTE & 1) != 0 &&
                   redact_name_is_secret(&r->opts.names, name)
               ? NAME_SECRET
               : NAME_PLAIN;
}

/* Eight bytes or more, the last of which may be looked at twice: memcmp() of so few bytes is mostly
 * the call. */
static bool is_same(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint64_t x, y, different = 0;
    for (size_t i = 0; i < n; i += 8) {
        size_t at = i + 8 <= n ? i : n - 8;
        memcpy(&x, a + at, 8);
        memcpy(&y, b + at, 8);
        different |= x ^ y;
    }
    return different == 0;
}

static enum redact_name look_up_name(struct redactor *r, struct span name)
{
    struct redact_known *k = &r->known[r->place++ % REDACT_PLACES];
    if (name.len == 0 || name.len > sizeof k->name)
        return judge_name(r, name);
    bool is_known = k->len == name.len && (name.len < 8 ? memcmp(k->name, name.base, name.len) == 0
                                                        : is_same(k->name, name.base, name.len));
    if (!is_known) {
        k->what = (uint8_t)judge_name(r, name);
        k->len = (uint8_t)name.len;
        memcpy(k->name, name.base, name.len);
    }
    return (enum redact_name)k->what;
}

static int on_named(void *ctx, const struct edit_text *named, struct span *with)
{
    struct redactor *r = ctx;
    enum redact_name name = look_up_name(r, named->key);
    if (name == NAME_EXEMPT)
        return EDIT_KEEP;
    if (name == NAME_PLAIN || !is_value(named->text))
        return EDIT_NOT;
    r->where = where_of(r, named->place);
    r->named = named->key;
    redact_note(r, &(const struct redact_hit){0, named->text.len, REDACT_ATTRIBUTE});
    int what = decide(r, named->place);
    if (what != EDIT_REPLACE)
        return what == EDIT_REMOVE ? EDIT_REMOVE : EDIT_KEEP;
    buf_clear(&r->text);
    redact_placeholder(r, REDACT_ATTRIBUTE, named->text, &r->text);
    if (r->text.err < 0)
        return r->text.err;
    *with = arena_copy(&r->texts, buf_span(&r->text));
    return with->base != NULL ? EDIT_REPLACE : ERR_NOMEM;
}

/* One message. *out is where the changed one is, in `room`. */
static int redact_message(struct redactor *r, enum edit_root root, struct span message,
                          struct buf *room, struct span *out)
{
    const struct edit_asker asker = {on_text, on_named, r};
    static const enum redact_where around[] = {
        [EDIT_RECORD] = REDACT_WHERE_COUNT,
        [EDIT_RESOURCE] = REDACT_IN_RESOURCE,
        [EDIT_SCOPE] = REDACT_IN_SCOPE,
    };
    r->around = around[root];
    r->is_dropped = false;
    r->place = 0;
    redact_look_at(&r->look, &r->detector.triggers, message);
    int rc = edit_find(&r->edit, root, message, &asker);
    if (rc > 0) {
        buf_clear(room);
        rc = edit_apply(&r->edit, room);
        *out = buf_span(room);
        rc = rc < 0 ? rc : REDACT_CHANGED;
    }
    r->look.text = (struct span){0};
    if (r->texts.used_bytes > 0)
        arena_reset(&r->texts);
    return rc == 0 && r->is_dropped && !r->is_quiet ? REDACT_DROPPED : rc;
}

/* ---- what stands around records ---------------------------------------- */

static void forget(struct redactor *r, struct redact_cached *c)
{
    if (c->bytes != NULL)
        budget_give(r->opts.budget, c->len + c->changed_len);
    free(c->bytes);
    *c = (struct redact_cached){0};
}

/* Without memory it is scanned again the next time. */
static void cache(struct redactor *r, struct redact_cached *c, uint64_t hash, struct span was,
                  struct span is, int rc)
{
    size_t changed = rc == REDACT_CHANGED ? is.len : 0;
    forget(r, c);
    if (was.len == 0 || was.len + changed > REDACT_CACHE_ENTRY_BYTES ||
        budget_take(r->opts.budget, was.len + changed) < 0)
        return;
    uint8_t *bytes = malloc(was.len + changed);
    if (bytes == NULL) {
        budget_give(r->opts.budget, was.len + changed);
        return;
    }
    memcpy(bytes, was.base, was.len);
    if (changed > 0)
        memcpy(bytes + was.len, is.base, changed);
    *c = (struct redact_cached){bytes, was.len, changed, hash, 0, rc};
    if (changed > 0)
        c->changed_hash = hash64_seeded(is, r->opts.seed);
}

/* A Resource or a scope: *message and *hash are what goes on. */
static int redact_around(struct redactor *r, enum edit_root root, struct span *message,
                         uint64_t *hash)
{
    struct redact_cached *c = &r->cached[root == EDIT_SCOPE][*hash % REDACT_CACHE_SLOTS];
    struct buf *room = root == EDIT_SCOPE ? &r->scope : &r->resource;
    if (c->bytes != NULL && c->hash == *hash && span_eq(*message, span_of(c->bytes, c->len))) {
        if (c->what == REDACT_CHANGED) {
            *message = span_of(c->bytes + c->len, c->changed_len);
            *hash = c->changed_hash;
        }
        return c->what;
    }
    struct span was = *message;
    int rc = redact_message(r, root, was, room, message);
    if (rc < 0)
        return rc;
    cache(r, c, *hash, was, *message, rc);
    if (rc == REDACT_CHANGED)
        *hash = hash64_seeded(*message, r->opts.seed);
    return rc;
}

int redactor_pass(struct redactor *r, uint32_t service, const struct logs_group **g,
                  struct span *record, struct logs_group *clean)
{
    uint64_t resource_hash = (*g)->resource_hash, scope_hash = (*g)->scope_hash;
    struct span resource = (*g)->resource, scope = (*g)->scope;
    r->service = service;
    int rc = redact_around(r, EDIT_RESOURCE, &resource, &resource_hash);
    int around = rc < 0 ? rc : redact_around(r, EDIT_SCOPE, &scope, &scope_hash);
    int inside = around < 0 ? around : redact_message(r, EDIT_RECORD, *record, &r->record, record);
    if (inside < 0)
        return inside;
    if (rc == REDACT_DROPPED || around == REDACT_DROPPED || inside == REDACT_DROPPED) {
        r->stats.dropped_records++;
        return REDACT_DROPPED;
    }
    if (rc == REDACT_CHANGED || around == REDACT_CHANGED) {
        *clean = **g;
        clean->resource = resource;
        clean->scope = scope;
        clean->resource_hash = resource_hash;
        clean->scope_hash = scope_hash;
        *g = clean;
    }
    r->stats.changed_records += inside == REDACT_CHANGED;
    return rc > around ? (rc > inside ? rc : inside) : around > inside ? around : inside;
}

/* ---- for people -------------------------------------------------------- */

void redactor_show_record(struct redactor *r, struct span *record)
{
    if (!redactor_enforces(r))
        return;
    r->is_quiet = true;
    if (redact_message(r, EDIT_RECORD, *record, &r->shown, record) < 0)
        *record = (struct span){0};
    r->is_quiet = false;
}

struct span redactor_show(struct redactor *r, struct span text, bool counts,
                          enum redact_where where)
{
    struct redact_hit hit;
    if (!redactor_enforces(r) || !first_hit(r, text, &hit))
        return text;
    r->is_quiet = !counts;
    r->where = where;
    int rc = redact_replace(r, hit, &r->name);
    r->is_quiet = false;
    return rc < 0 ? (struct span){0} : buf_span(&r->name);
}

int redactor_text(struct redactor *r, struct span text, redact_found_fn *fn, void *ctx,
                  struct buf *out)
{
    struct redact_hit hit;
    int count = 0;
    for (bool more = first_hit(r, text, &hit); more; more = redact_scan_next(&r->scan, &hit)) {
        const struct redact_found found = {
            .kind = redact_name_of(r, hit.kind),
            .at = hit.at,
            .len = hit.len,
        };
        fn(ctx, &found);
        count++;
    }
    if (out == NULL || !first_hit(r, text, &hit)) {
        if (out != NULL)
            buf_append(out, text);
        return out != NULL && out->err < 0 ? out->err : count;
    }
    r->is_quiet = true;
    int rc = redact_replace(r, hit, &r->shown);
    r->is_quiet = false;
    if (rc < 0)
        return rc;
    buf_append(out, buf_span(&r->shown));
    return out->err < 0 ? out->err : count;
}

int redactor_record(struct redactor *r, struct span record, struct redact_set *kinds,
                    struct span *out)
{
    *out = record;
    r->is_quiet = r->is_shown = true;
    r->found = 0;
    int rc = redact_message(r, EDIT_RECORD, record, &r->shown, out);
    r->is_quiet = r->is_shown = false;
    *kinds = (struct redact_set){r->found, &r->stats};
    return rc < 0 ? rc : 0;
}

/* ---- life -------------------------------------------------------------- */

bool redactor_enforces(const struct redactor *r)
{
    return r != NULL && r->opts.mode == REDACT_ENFORCE;
}

const struct redact_stats *redactor_stats(const struct redactor *r)
{
    return &r->stats;
}

static int take_patterns(struct redactor *r)
{
    r->stats.kinds = REDACT_KIND_COUNT + r->opts.pattern_count;
    for (unsigned i = 0; i < r->opts.pattern_count; i++) {
        const struct redact_pattern *p = &r->opts.patterns[i];
        int rc = regex_new(&r->patterns.regex[i], span_str(p->regex), 0, NULL);
        if (rc < 0)
            return rc;
        r->patterns.count = i + 1;
        snprintf(r->stats.pattern_names[i], sizeof r->stats.pattern_names[i], "%s", p->name);
    }
    return 0;
}

int redactor_new(struct redactor **out, const struct redact_opts *opts)
{
    struct redactor *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->opts = *opts;
    r->exempt = opts->names.exempt;
    r->stats.mode = opts->mode;
    r->stats.action = opts->action;
    redact_detector_init(&r->detector, opts->kinds);
    arena_init(&r->texts, TEXTS_BYTES, opts->budget);
    struct buf *bufs[] = {&r->text,  &r->record, &r->resource,  &r->scope,
                          &r->shown, &r->name,   &r->edit.nodes};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        bufs[i]->budget = opts->budget;
    int rc = take_patterns(r);
    if (rc < 0) {
        redactor_free(r);
        return rc;
    }
    size_t bytes = opts->max_services * sizeof *r->seen;
    if (bytes > 0 && budget_take(opts->budget, bytes) == 0) {
        r->seen = calloc(opts->max_services, sizeof *r->seen);
        if (r->seen == NULL) {
            budget_give(opts->budget, bytes);
            redactor_free(r);
            return ERR_NOMEM;
        }
    }
    *out = r;
    return 0;
}

static void forget_all(struct redactor *r)
{
    for (size_t i = 0; i < REDACT_CACHE_SLOTS; i++) {
        forget(r, &r->cached[0][i]);
        forget(r, &r->cached[1][i]);
    }
}

int redactor_protect(struct redactor *r, struct span names)
{
    struct redact_names with = {.exempt = r->exempt, .secret = r->opts.names.secret};
    if (span_eq(names, span_of(r->protected, r->protected_len)))
        return 0;
    char *copy = malloc(names.len + 1);
    if (copy == NULL)
        return ERR_NOMEM;
    if (names.len > 0)
        memcpy(copy, names.base, names.len);
    int rc = redact_names_exempt(&with, span_of(copy, names.len));
    if (rc < 0) {
        free(copy);
        return rc;
    }
    free(r->protected);
    r->protected = copy;
    r->protected_len = names.len;
    r->opts.names = with;
    forget_all(r); /* what was cached was cut by the names before */
    return 0;
}

void redactor_free(struct redactor *r)
{
    if (r == NULL)
        return;
    forget_all(r);
    free(r->protected);
    struct buf *bufs[] = {&r->text, &r->record, &r->resource, &r->scope, &r->shown, &r->name};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
    for (unsigned i = 0; i < r->patterns.count; i++)
        regex_free(r->patterns.regex[i]);
    edit_done(&r->edit);
    arena_done(&r->texts);
    if (r->seen != NULL)
        budget_give(r->opts.budget, r->opts.max_services * sizeof *r->seen);
    free(r->seen);
    free(r);
}
