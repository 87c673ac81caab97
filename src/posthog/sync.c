/* sync: by name; of two with one name the second goes. */
#include "posthog/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "posthog/canonical.h"
#include "posthog/ours.h"

const char *sync_word(enum sync_what what)
{
    static const char *const words[] = {[SYNC_KEEP] = "same",
                                        [SYNC_CREATE] = "create",
                                        [SYNC_CHANGE] = "change",
                                        [SYNC_REMOVE] = "remove"};
    return words[what];
}

/* The members that have to be alike, one after the other. */
static void write_members(const struct sync *s, struct buf *out, struct json_node item)
{
    for (size_t i = 0; s->members[i] != NULL; i++) {
        canonical_write(out, json_get(item, s->members[i]));
        buf_append_byte(out, '\n');
    }
}

int sync_want(struct sync *s, const char *name, struct buf *body, struct buf *change)
{
    struct json_doc *doc;
    struct json_node root;
    struct sync_wanted *all = realloc(s->wanted, (s->wanted_count + 1) * sizeof *all);
    if (all != NULL)
        s->wanted = all;
    int rc = all == NULL ? ERR_NOMEM : body->err != 0 ? body->err : change->err;
    if (rc == 0)
        rc = json_doc_new(&doc, buf_span(body), NULL, &root);
    if (rc < 0) {
        buf_done(body);
        buf_done(change);
        return rc;
    }
    struct sync_wanted *w = &all[s->wanted_count++];
    *w = (struct sync_wanted){.name = ""};
    snprintf(w->name, sizeof w->name, "%s", name);
    buf_move(&w->body, body);
    buf_move(&w->change, change);
    write_members(s, &w->canonical, root);
    json_doc_free(doc);
    return w->canonical.err;
}

int sync_begin(struct sync *s)
{
    s->steps = calloc(s->wanted_count + 1u, sizeof *s->steps);
    if (s->steps == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < s->wanted_count; i++) {
        struct sync_step *step = &s->steps[s->step_count++];
        *step = (struct sync_step){.what = SYNC_CREATE, .wanted = &s->wanted[i]};
        memcpy(step->name, s->wanted[i].name, sizeof step->name);
    }
    return 0;
}

static void remove_it(struct sync *s, struct json_node item, struct span name)
{
    struct sync_step *steps = realloc(s->steps, (s->step_count + 1) * sizeof *steps);
    if (steps == NULL) {
        s->rc = ERR_NOMEM;
        return;
    }
    s->steps = steps;
    struct sync_step *step = &steps[s->step_count++];
    *step = (struct sync_step){.what = SYNC_REMOVE};
    listing_id(item, "id", step->id);
    snprintf(step->name, sizeof step->name, "%.*s", (int)name.len,
             name.len > 0 ? (const char *)name.base : "");
}

void sync_item(struct sync *s, struct json_node item)
{
    struct span name = json_string(json_get(item, "name"));
    struct buf canonical = {0};
    if (!posthog_is_ours(item) || json_is_true(json_get(item, "deleted"))) {
        s->others++;
        return;
    }
    s->ours++;
    struct sync_step *step = NULL;
    for (unsigned i = 0; i < s->wanted_count && step == NULL; i++)
        if (span_eq(name, span_str(s->wanted[i].name)) && s->steps[i].what == SYNC_CREATE)
            step = &s->steps[i];
    if (step == NULL) {
        remove_it(s, item, name);
        return;
    }
    listing_id(item, "id", step->id);
    write_members(s, &canonical, item);
    bool same = span_eq(buf_span(&canonical), buf_span(&step->wanted->canonical));
    step->what = same ? SYNC_KEEP : SYNC_CHANGE;
    if (canonical.err != 0)
        s->rc = canonical.err;
    buf_done(&canonical);
}

void sync_done(struct sync *s)
{
    for (unsigned i = 0; i < s->wanted_count; i++) {
        buf_done(&s->wanted[i].body);
        buf_done(&s->wanted[i].change);
        buf_done(&s->wanted[i].canonical);
    }
    free(s->wanted);
    free(s->steps);
    *s = (struct sync){.members = s->members};
}
