/* tero_transform: remove, redact, rename and add, on a record that is kept. */
#include "policy/tero_state.h"

#include "otlp/fields.h"
#include "otlp/wire.h"

static const char hidden[] = "[REDACTED]";

/* Where the own fields of a record are, in it or around it. */
struct own {
    unsigned part; /* 0 record, 1 Resource, 2 scope */
    uint32_t number;
};

static struct own own_of(enum tero_log_field field)
{
    static const struct own places[] = {
        [TERO_BODY] = {0, LOG_RECORD_BODY},
        [TERO_SEVERITY_TEXT] = {0, LOG_RECORD_SEVERITY_TEXT},
        [TERO_TRACE_ID] = {0, LOG_RECORD_TRACE_ID},
        [TERO_SPAN_ID] = {0, LOG_RECORD_SPAN_ID},
        [TERO_EVENT_NAME] = {0, LOG_RECORD_EVENT_NAME},
        [TERO_RESOURCE_SCHEMA_URL] = {1, RESOURCE_LOGS_SCHEMA_URL},
        [TERO_SCOPE_SCHEMA_URL] = {2, SCOPE_LOGS_SCHEMA_URL},
    };
    return places[field];
}

static unsigned part_of(const struct tero_field *f)
{
    return f->place == TERO_RESOURCE ? 1 : f->place == TERO_SCOPE ? 2 : 0;
}

static struct span *span_of_part(struct tero_record *r, unsigned part)
{
    return part == 0 ? &r->record : part == 1 ? &r->resource : &r->scope;
}

/* The buffer in which the part is not. */
static struct buf *room_for(struct tero *t, unsigned part)
{
    struct buf *room = &t->pairs[part].buf[t->pairs[part].next];
    buf_clear(room);
    return room;
}

static void take(struct tero *t, struct tero_record *r, unsigned part)
{
    struct tero_pair *pair = &t->pairs[part];
    struct span now = buf_span(&pair->buf[pair->next]);
    *span_of_part(r, part) = now.base != NULL ? now : SPAN("");
    pair->next ^= 1;
}

/* ---- one change ------------------------------------------------------------- */

static int change_attr(struct tero *t, struct tero_record *r, const struct tero_field *f,
                       struct span any, bool may_create)
{
    const struct tero_change c = {f->path, f->names, any, may_create};
    unsigned part = part_of(f);
    struct buf *out = room_for(t, part);
    int rc = part == 0   ? tero_write_attrs(out, r->record, LOG_RECORD_ATTRIBUTES, &c)
             : part == 1 ? tero_write_inner(out, r->resource, RESOURCE_ATTRIBUTES, &c, &t->inner)
                         : tero_write_inner(out, r->scope, SCOPE_ATTRIBUTES, &c, &t->inner);
    if (rc > 0)
        take(t, r, part);
    return rc;
}

static int remove_field(struct tero *t, struct tero_record *r, const struct tero_field *f)
{
    if (f->place != TERO_FIELD)
        return change_attr(t, r, f, (struct span){0}, false);
    struct own own = own_of(f->field);
    int rc = tero_write_field(room_for(t, own.part), *span_of_part(r, own.part), own.number,
                              (struct span){0});
    if (rc == 0)
        take(t, r, own.part);
    return rc;
}

static int set_text(struct tero *t, struct tero_record *r, const struct tero_field *f,
                    struct span text)
{
    if (f->place != TERO_FIELD || f->field == TERO_BODY) {
        buf_clear(&t->value);
        wire_append_len(&t->value, ANY_VALUE_STRING, text);
        if (t->value.err < 0)
            return t->value.err;
    }
    if (f->place != TERO_FIELD)
        return change_attr(t, r, f, buf_span(&t->value), true);
    struct own own = own_of(f->field);
    struct span content = text.base != NULL ? text : SPAN("");
    int rc = tero_write_field(room_for(t, own.part), *span_of_part(r, own.part), own.number,
                              f->field == TERO_BODY ? buf_span(&t->value) : content);
    if (rc == 0)
        take(t, r, own.part);
    return rc;
}

/* ---- replacements ------------------------------------------------------------ */

static bool is_word(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';
}

/* The group of a name or number. */
static struct span group(const struct regex *re, struct span text, struct span name)
{
    unsigned number = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.base[i] < '0' || name.base[i] > '9' || number > 999)
            return regex_group_named(re, text, name);
        number = number * 10 + (unsigned)(name.base[i] - '0');
    }
    return regex_group(re, text, number);
}

/* $1, $name, ${name} and $$; a $ before anything else is itself. The name without braces is as long
 * as it can be. (Go's regexp.Expand) */
static void expand(struct buf *out, const struct regex *re, struct span text, struct span with)
{
    for (size_t at = 0; at < with.len;) {
        size_t end = at + 1;
        bool is_braced = end < with.len && with.base[end] == '{';
        size_t name = end + is_braced;
        if (with.base[at] == '$' && end < with.len && with.base[end] == '$') {
            buf_append_byte(out, '$');
            at += 2;
            continue;
        }
        for (end = name; end < with.len && is_word(with.base[end]); end++)
            ;
        bool is_group = with.base[at] == '$' && end > name &&
                        (!is_braced || (end < with.len && with.base[end] == '}'));
        if (!is_group) {
            buf_append_byte(out, with.base[at++]);
            continue;
        }
        buf_append(out, group(re, text, span_of(with.base + name, end - name)));
        at = end + is_braced;
    }
}

/* The bytes of the character that begins at `at`. */
static size_t character(struct span text, size_t at)
{
    size_t end = at + 1;
    while (end < text.len && (text.base[end] & 0xc0) == 0x80)
        end++;
    return end - at;
}

/* Every match in the text replaced, into t->text. 1, 0: there is none, or ERR_*. Where the limit of
 * steps ends the search, what is left is replaced as a whole: it may hold what is to be hidden. */
static int replace_all(struct tero *t, const struct tero_op *op, struct span text)
{
    struct regex_match m;
    size_t from = 0, copied = 0;
    int rc = 0, found = 0;
    buf_clear(&t->text);
    while (from <= text.len && (rc = regex_search(op->regex, text, from, &m)) == 1) {
        bool is_empty_behind_match = m.len == 0 && found && m.at == copied;
        if (!is_empty_behind_match) {
            buf_append(&t->text, span_of(text.base + copied, m.at - copied));
            expand(&t->text, op->regex, text, op->value);
            copied = m.at + m.len;
            found = 1;
        }
        from = m.at + m.len;
        if (m.len == 0 && from < text.len)
            from += character(text, from);
        else if (m.len == 0)
            break;
    }
    if (rc < 0)
        buf_append_str(&t->text, hidden);
    else
        buf_append(&t->text, span_of(text.base + copied, text.len - copied));
    if (t->text.err == ERR_TOO_BIG) { /* of replacements that are longer than what they replace */
        buf_clear(&t->text);
        buf_append_str(&t->text, hidden);
    }
    return t->text.err < 0 ? t->text.err : rc < 0 || found;
}

/* ---- the four ----------------------------------------------------------------- */

static int look(const struct tero_field *f, struct tero_record *r, struct log_value *v)
{
    struct tero_view view = {.at = r};
    int rc = log_record_read(&view.log, r->record);
    return rc < 0 ? rc : tero_field_read(f, &view, v);
}

static int remove_one(struct tero *t, const struct tero_op *op, struct tero_record *r)
{
    struct log_value v;
    int rc = look(&op->field, r, &v);
    return rc > 0 ? remove_field(t, r, &op->field) : rc;
}

static int redact_one(struct tero *t, const struct tero_op *op, struct tero_record *r)
{
    struct log_value v;
    char room[TERO_ID_TEXT];
    int rc = look(&op->field, r, &v);
    if (rc <= 0)
        return rc;
    if (op->regex == NULL)
        return set_text(t, r, &op->field, op->value);
    struct span text = tero_text(&op->field, &v, room);
    rc = text.base == NULL ? 0 : replace_all(t, op, text);
    return rc > 0 ? set_text(t, r, &op->field, buf_span(&t->text)) : rc;
}

/* Within the attributes of one message; the new name stands at the top. */
static int rename_one(struct tero *t, const struct tero_op *op, struct tero_record *r)
{
    struct tero_field to = {op->field.place, TERO_UNSPECIFIED, &op->value, 1};
    struct span any, other;
    bool is_itself = op->field.names == 1 && span_eq(op->field.path[0], op->value);
    if (is_itself || !tero_attr_find(&op->field, r, &any))
        return 0;
    if (!op->upsert && tero_attr_find(&to, r, &other))
        return 0;
    buf_clear(&t->value);
    buf_append(&t->value, any);
    int rc = t->value.err < 0 ? t->value.err : remove_field(t, r, &op->field);
    struct span value = t->value.len > 0 ? buf_span(&t->value) : SPAN("");
    return rc < 0 ? rc : change_attr(t, r, &to, value, true);
}

static int add_one(struct tero *t, const struct tero_op *op, struct tero_record *r)
{
    struct log_value v;
    int rc = look(&op->field, r, &v);
    return rc < 0 || (rc > 0 && !op->upsert) ? (rc < 0 ? rc : 0)
                                             : set_text(t, r, &op->field, op->value);
}

/* All policies take part in each kind before the next kind begins. */
int tero_transform(struct tero *t, size_t matched, struct tero_record *r)
{
    static int (*const apply[])(struct tero *, const struct tero_op *, struct tero_record *) = {
        [TERO_REMOVE] = remove_one,
        [TERO_REDACT] = redact_one,
        [TERO_RENAME] = rename_one,
        [TERO_ADD] = add_one,
    };
    const struct tero_record before = *r;
    for (unsigned kind = 0; kind < TERO_OP_KINDS; kind++) {
        for (size_t i = 0; i < matched; i++) {
            const struct tero_ops *ops = &t->policies[t->matched[i]].ops[kind];
            for (unsigned k = 0; k < ops->count; k++) {
                int rc = apply[kind](t, &ops->list[k], r);
                if (rc < 0)
                    return rc;
            }
        }
    }
    bool is_same = r->record.base == before.record.base &&
                   r->resource.base == before.resource.base && r->scope.base == before.scope.base;
    return is_same ? TERO_SAME : TERO_CHANGED;
}
