/* tero: policies from their making to their end; one record at a time; what they have done. */
#include "policy/tero.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/tero_state.h"

#define ARENA_BYTES (64u << 20)   /* of all policies; 10,000 of usual size have about 10 MiB */
#define MESSAGE_BYTES (64u << 20) /* of a changed message, and of a text with its replacements */

static struct buf *scratch(struct tero *t, size_t i)
{
    struct buf *others[] = {&t->inner, &t->value, &t->text};
    return i < 6 ? &t->pairs[i / 2].buf[i % 2] : i < 9 ? others[i - 6] : NULL;
}

static int make(struct tero **out, struct json_node root, bool is_alone, uint64_t seed,
                struct budget *budget, struct error *err)
{
    struct buf *b;
    struct tero *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    arena_init(&t->arena, ARENA_BYTES, budget);
    t->rng.state = seed;
    for (size_t i = 0; (b = scratch(t, i)) != NULL; i++)
        *b = (struct buf){.max_bytes = MESSAGE_BYTES, .budget = budget};
    int rc = tero_read(t, root, is_alone, err);
    if (rc < 0) {
        tero_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

int tero_new(struct tero **out, struct span text, uint64_t seed, struct budget *budget,
             struct error *err)
{
    struct json_doc *doc = NULL;
    struct json_node root;
    if (text.len > TERO_TEXT_BYTES)
        return err_set(err, ERR_CONFIG, "the text is longer than %u bytes", TERO_TEXT_BYTES);
    int rc = json_doc_new(&doc, text, budget, &root);
    if (rc == ERR_MALFORMED)
        err_set(err, rc, "the text is no valid JSON, or nested too deep");
    if (rc == 0)
        rc = make(out, root, true, seed, budget, err);
    json_doc_free(doc);
    return rc;
}

int tero_new_of(struct tero **out, struct json_node response, uint64_t seed, struct budget *budget,
                struct error *err)
{
    return make(out, response, false, seed, budget, err);
}

static void free_policy(struct tero_policy *p)
{
    for (unsigned i = 0; i < p->matcher_count; i++)
        regex_free(p->matchers[i].regex);
    for (unsigned kind = 0; kind < TERO_OP_KINDS; kind++)
        for (unsigned i = 0; i < p->ops[kind].count; i++)
            regex_free(p->ops[kind].list[i].regex);
}

void tero_free(struct tero *t)
{
    struct buf *b;
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++)
        free_policy(&t->policies[i]);
    for (size_t i = 0; (b = scratch(t, i)) != NULL; i++)
        buf_done(b);
    arena_done(&t->arena);
    free(t);
}

/* ---- a record ------------------------------------------------------------------ */

static bool policy_matches(const struct tero_policy *p, const struct tero_view *view)
{
    for (unsigned i = 0; i < p->matcher_count; i++)
        if (!tero_matches(&p->matchers[i], view))
            return false;
    return true;
}

int tero_apply(struct tero *t, struct tero_record *r, uint64_t now_ms)
{
    struct tero_view view = {.at = r};
    size_t matched = 0;
    int rc = log_record_read(&view.log, r->record);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < t->count; i++)
        if (t->policies[i].is_on && policy_matches(&t->policies[i], &view))
            t->matched[matched++] = (uint32_t)i;
    struct tero_policy *dropped_by = tero_keep_decide(t, matched, &view, now_ms);
    bool is_kept = dropped_by == NULL || r->is_protected;
    if (is_kept && dropped_by != NULL)
        dropped_by->overruled++;
    for (size_t i = 0; i < matched; i++) {
        struct tero_policy *p = &t->policies[t->matched[i]];
        bool is_hit = is_kept != (p == dropped_by);
        p->hits += is_hit;
        p->misses += !is_hit;
    }
    return !is_kept ? TERO_DROPPED : tero_transform(t, matched, r);
}

/* ---- what they have done ---------------------------------------------------------- */

bool tero_count(const struct tero *t, size_t index, struct tero_count *out)
{
    if (index >= t->count)
        return false;
    const struct tero_policy *p = &t->policies[index];
    *out = (struct tero_count){p->id, p->hits, p->misses, p->error_count};
    return true;
}

struct span tero_error(const struct tero *t, size_t index, unsigned error)
{
    bool is_there = index < t->count && error < t->policies[index].error_count;
    return is_there ? t->policies[index].errors[error] : (struct span){0};
}

size_t tero_policies(const struct tero *t)
{
    return t->count;
}

size_t tero_invalid(const struct tero *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++)
        n += t->policies[i].error_count > 0;
    return n;
}

static void take_status(struct tero_policy *p, struct json *j)
{
    char text[96];
    json_begin(j, NULL);
    json_text(j, "id", p->id);
    json_u64(j, "match_hits", p->hits);
    json_u64(j, "match_misses", p->misses);
    json_begin_list(j, "errors");
    for (unsigned i = 0; i < p->error_count; i++)
        json_text(j, NULL, p->errors[i]);
    if (p->overruled > 0) {
        int n = snprintf(text, sizeof text,
                         "errors are always kept: it would have dropped %" PRIu64 " of them",
                         p->overruled);
        json_text(j, NULL, span_of(text, (size_t)n));
    }
    json_end_list(j);
    json_end(j);
    p->hits = p->misses = p->overruled = 0;
}

void tero_take_statuses(struct tero *t, struct json *j)
{
    for (size_t i = 0; i < t->count; i++) {
        struct tero_policy *p = &t->policies[i];
        if (p->hits > 0 || p->misses > 0 || p->error_count > 0)
            take_status(p, j);
    }
}

void tero_write_stats(const struct tero *t, struct json *j)
{
    struct tero_count c;
    json_begin(j, NULL);
    json_begin_list(j, "policies");
    for (size_t i = 0; tero_count(t, i, &c); i++) {
        if (c.hits == 0 && c.misses == 0 && c.errors == 0)
            continue;
        json_begin(j, NULL);
        json_text(j, "policy_id", c.id);
        json_u64(j, "hits", c.hits);
        if (c.misses > 0)
            json_u64(j, "misses", c.misses);
        if (c.errors > 0)
            json_begin_list(j, "errors");
        for (unsigned k = 0; k < c.errors; k++)
            json_text(j, NULL, tero_error(t, i, k));
        if (c.errors > 0)
            json_end_list(j);
        json_end(j);
    }
    json_end_list(j);
    json_end(j);
}
