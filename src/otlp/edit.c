/* edit: one walk that notes the changed lengths, one pass that copies what lies between them. */
#include "otlp/edit.h"

#include "otlp/fields.h"
#include "otlp/logs.h"
#include "otlp/wire.h"

/* A text to be replaced, an entry to be removed, or a message above one. Nodes stand in the order
 * of the message, each before those in it. */
struct node {
    const uint8_t *head; /* the length of a message or a text; of what is removed, its tag */
    struct span content; /* as it came */
    struct span with;    /* instead of the content */
    size_t len;          /* of the content, changed */
    int64_t grown;       /* by what is in it */
    uint32_t above;      /* the node that this one is in; NO_NODE: the root */
    uint8_t kind;        /* enum node_kind */
};

enum node_kind { NODE_MESSAGE, NODE_TEXT, NODE_REMOVED, NODE_VALUE };

#define NO_NODE UINT32_MAX
#define VALUE_STRING_HEAD (ANY_VALUE_STRING << 3 | WIRE_LEN)

/* A message on the way down; its node is made when something in it is changed. */
struct level {
    struct level *above;
    const uint8_t *head;
    struct span content;
    uint32_t node;
};

struct walk {
    struct edit *edit;
    const struct edit_asker *asker;
    struct level *level;
    struct edit_text at; /* where we are */
    uint32_t changes;
    unsigned depth;
    bool is_removed; /* the attribute that is being walked */
    int err;
};

/* What may stand in a field of a message. */
enum what {
    PASS,
    TEXT,
    VALUE,
    ATTRIBUTES,
    ENTRY_KEY,
    ENTRY_VALUE,
    ENTRIES,
    ELEMENTS,
    MESSAGE_R,
    MESSAGE_S
};

static void walk_message(struct walk *w, struct span message,
                         enum what (*field_of)(uint32_t number));

/* The first byte of the length of a LEN field. */
static const uint8_t *length_of(const struct wire_field *f)
{
    const uint8_t *at = f->whole.base;
    while (*at >= 0x80)
        at++;
    return at + 1;
}

static struct node *nodes_of(const struct edit *e)
{
    return (struct node *)(void *)e->nodes.base;
}

static uint32_t count_of(const struct edit *e)
{
    return (uint32_t)(e->nodes.len / sizeof(struct node));
}

static uint32_t add_node(struct walk *w, const struct node *node)
{
    uint32_t number = count_of(w->edit);
    buf_append(&w->edit->nodes, span_of(node, sizeof *node));
    if (w->edit->nodes.err != 0)
        w->err = w->edit->nodes.err;
    return number;
}

/* The node of a level, and before it those of all above it. */
static uint32_t node_of(struct walk *w, struct level *level)
{
    if (level == NULL)
        return NO_NODE;
    if (level->node == NO_NODE) {
        struct node node = {
            .head = level->head,
            .content = level->content,
            .above = node_of(w, level->above),
            .kind = NODE_MESSAGE,
        };
        level->node = add_node(w, &node);
    }
    return level->node;
}

static void change(struct walk *w, const struct wire_field *f, enum node_kind kind,
                   struct span with)
{
    struct node node = {
        .head = kind == NODE_REMOVED ? f->whole.base : length_of(f),
        .content = f->bytes,
        .with = with,
        .above = node_of(w, w->level),
        .kind = (uint8_t)kind,
    };
    ignore_code((int)add_node(w, &node)); /* w->err has a failure */
    w->changes++;
}

/* ---- the walk ---------------------------------------------------------- */

static void ask(struct walk *w, const struct wire_field *f)
{
    struct span with = {0};
    w->at.text = f->bytes;
    int what = w->asker->text(w->asker->ctx, &w->at, &with);
    if (what < 0)
        w->err = what;
    else if (what == EDIT_REPLACE)
        change(w, f, NODE_TEXT, with);
    else if (what == EDIT_REMOVE)
        w->is_removed = w->at.place == EDIT_ATTRIBUTE;
}

/* Go down into a field. */
static void enter(struct walk *w, const struct wire_field *f, enum what (*field_of)(uint32_t))
{
    struct level level = {w->level, length_of(f), f->bytes, NO_NODE};
    if (w->depth >= LOGS_MAX_DEPTH)
        return; /* logs_check() lets nothing deeper in */
    w->level = &level;
    w->depth++;
    walk_message(w, f->bytes, field_of);
    w->depth--;
    w->level = level.above;
}

static enum what field_of_value(uint32_t number)
{
    static const uint8_t fields[] = {
        [ANY_VALUE_STRING] = TEXT,
        [ANY_VALUE_ARRAY] = ELEMENTS,
        [ANY_VALUE_KVLIST] = ENTRIES,
        [ANY_VALUE_BYTES] = TEXT,
    };
    return number < ARRAY_LEN(fields) ? fields[number] : PASS;
}

static enum what field_of_array(uint32_t number)
{
    return number == LIST_VALUES ? VALUE : PASS;
}

static enum what field_of_map(uint32_t number)
{
    return number == LIST_VALUES ? ATTRIBUTES : PASS;
}

static enum what field_of_entry(uint32_t number)
{
    return number == KEY_VALUE_KEY ? ENTRY_KEY : number == KEY_VALUE_VALUE ? ENTRY_VALUE : PASS;
}

static enum what field_of_record(uint32_t number)
{
    static const uint8_t fields[] = {
        [LOG_RECORD_SEVERITY_TEXT] = TEXT,
        [LOG_RECORD_BODY] = VALUE,
        [LOG_RECORD_ATTRIBUTES] = ATTRIBUTES,
        [LOG_RECORD_EVENT_NAME] = TEXT,
    };
    return number < ARRAY_LEN(fields) ? fields[number] : PASS;
}

static enum what field_of_resource_logs(uint32_t number)
{
    return number == RESOURCE_LOGS_RESOURCE     ? MESSAGE_R
           : number == RESOURCE_LOGS_SCHEMA_URL ? TEXT
                                                : PASS;
}

static enum what field_of_resource(uint32_t number)
{
    return number == RESOURCE_ATTRIBUTES ? ATTRIBUTES : PASS;
}

static enum what field_of_scope_logs(uint32_t number)
{
    return number == SCOPE_LOGS_SCOPE ? MESSAGE_S : number == SCOPE_LOGS_SCHEMA_URL ? TEXT : PASS;
}

static enum what field_of_scope(uint32_t number)
{
    return number == SCOPE_NAME || number == SCOPE_VERSION ? TEXT
           : number == SCOPE_ATTRIBUTES                    ? ATTRIBUTES
                                                           : PASS;
}

/* A KeyValue as everybody writes it: the key, the value, both short. */
static bool is_plain_entry(struct span key_value, struct span *key, struct span *value)
{
    const uint8_t *at = key_value.base;
    if (key_value.len < 4 || at[0] != (KEY_VALUE_KEY << 3 | WIRE_LEN) || at[1] >= 0x80)
        return false;
    size_t second = 2 + (size_t)at[1];
    if (key_value.len < second + 2 || at[second] != (KEY_VALUE_VALUE << 3 | WIRE_LEN) ||
        at[second + 1] >= 0x80 || key_value.len != second + 2 + at[second + 1])
        return false;
    *key = span_of(at + 2, at[1]);
    *value = span_of(at + second + 2, at[second + 1]);
    return true;
}

/* The key and the value of an entry: the last ones count, as protobuf has it. */
static struct span key_of(struct span key_value, struct span *value)
{
    struct wire w;
    struct wire_field f;
    struct span key = {0};
    *value = (struct span){0};
    wire_init(&w, key_value);
    while (wire_next(&w, &f)) {
        if (f.number == KEY_VALUE_KEY && f.type == WIRE_LEN)
            key = f.bytes;
        if (f.number == KEY_VALUE_VALUE && f.type == WIRE_LEN)
            *value = f.bytes;
    }
    return key;
}

/* A value that is one flag or number, and no text. */
static bool is_number_value(struct span value)
{
    const uint8_t *at = value.base;
    size_t i = 1;
    if (at[0] == (ANY_VALUE_DOUBLE << 3 | WIRE_I64))
        return value.len == 9;
    if (at[0] != (ANY_VALUE_INT << 3 | WIRE_VARINT) && at[0] != (ANY_VALUE_BOOL << 3 | WIRE_VARINT))
        return false;
    while (i < value.len && at[i] >= 0x80)
        i++;
    return i + 1 == value.len && i <= 10;
}

/* An attribute with a short string or a number, which nearly all are: asked about without going
 * down. False: it is another, and nothing was asked. */
static bool walk_plain_attribute(struct walk *w, const struct wire_field *f)
{
    struct span key, value;
    if (!is_plain_entry(f->bytes, &key, &value) || value.len < 2)
        return false;
    const uint8_t *at = value.base;
    bool is_text = at[0] == VALUE_STRING_HEAD && at[1] < 0x80 && value.len == 2 + (size_t)at[1];
    if (!is_text && !is_number_value(value))
        return false;
    struct edit_text named = {EDIT_ATTRIBUTE, key, key, value};
    struct span with = {0};
    int what = w->asker->named == NULL ? EDIT_NOT : w->asker->named(w->asker->ctx, &named, &with);
    struct wire_field inner = {.bytes = value, .whole = span_of(at - 2, value.len + 2)};
    enum node_kind kind = NODE_VALUE;
    bool is_inside = false;
    if (what == EDIT_NOT && is_text) {
        named.text = span_of(at + 2, at[1]);
        what = w->asker->text(w->asker->ctx, &named, &with);
        inner = (struct wire_field){.bytes = named.text, .whole = value};
        kind = NODE_TEXT;
        is_inside = true;
    }
    if (what < 0)
        w->err = what;
    if (what <= EDIT_NOT || what == EDIT_KEEP)
        return true;
    if (what == EDIT_REMOVE) {
        change(w, f, NODE_REMOVED, with);
        return true;
    }
    struct level entry = {w->level, length_of(f), f->bytes, NO_NODE};
    struct level any = {&entry, at - 1, value, NO_NODE};
    w->level = is_inside ? &any : &entry;
    change(w, &inner, kind, with);
    w->level = entry.above;
    return true;
}

static void replace_value(struct walk *w, const struct wire_field *f, struct span with)
{
    struct level level = {w->level, length_of(f), f->bytes, NO_NODE};
    struct wire inner;
    struct wire_field value;
    w->level = &level;
    wire_init(&inner, f->bytes);
    while (wire_next(&inner, &value))
        if (value.number == KEY_VALUE_VALUE && value.type == WIRE_LEN)
            change(w, &value, NODE_VALUE, with);
    w->level = level.above;
}

/* Forget the changes since there were so many nodes, and remove the whole field instead. */
static void remove_instead(struct walk *w, const struct wire_field *f, uint32_t nodes,
                           uint32_t changes)
{
    w->edit->nodes.len = nodes * sizeof(struct node);
    w->changes = changes;
    w->is_removed = false;
    for (struct level *l = w->level; l != NULL; l = l->above)
        if (l->node != NO_NODE && l->node >= nodes)
            l->node = NO_NODE;
    change(w, f, NODE_REMOVED, (struct span){0});
}

/* A KeyValue: an attribute, or an entry of a map in a value. */
static void walk_entry(struct walk *w, const struct wire_field *f)
{
    bool is_attribute = w->at.place == EDIT_FIELD;
    if (is_attribute && walk_plain_attribute(w, f))
        return;
    struct edit_text before = w->at;
    uint32_t nodes = count_of(w->edit), changes = w->changes;
    struct span with = {0};
    int what = EDIT_NOT;
    w->at.key = key_of(f->bytes, &w->at.text);
    if (is_attribute) {
        w->at.place = EDIT_ATTRIBUTE;
        w->at.attribute = w->at.key;
    }
    if (w->asker->named != NULL)
        what = w->asker->named(w->asker->ctx, &w->at, &with);
    if (what < 0)
        w->err = what;
    else if (what == EDIT_REMOVE)
        change(w, f, NODE_REMOVED, with);
    else if (what == EDIT_REPLACE)
        replace_value(w, f, with);
    else if (what == EDIT_NOT)
        enter(w, f, field_of_entry);
    if (is_attribute && w->is_removed && w->err == 0)
        remove_instead(w, f, nodes, changes);
    w->at = before;
}

/* A body that is one text: asked about without going down. False: it is another. */
static bool walk_plain_body(struct walk *w, const struct wire_field *f)
{
    const uint8_t *at = f->bytes.base;
    size_t n = f->bytes.len;
    if (n < 2 || at[0] != VALUE_STRING_HEAD || at[1] >= 0x80 || n != 2 + (size_t)at[1])
        return false;
    struct level level = {w->level, length_of(f), f->bytes, NO_NODE};
    const struct wire_field text = {.bytes = span_of(at + 2, n - 2), .whole = f->bytes};
    w->level = &level;
    ask(w, &text);
    w->level = level.above;
    return true;
}

/* Keys in maps are data, keys of attributes are code. */
static void walk_field(struct walk *w, const struct wire_field *f, enum what what)
{
    switch (what) {
    case PASS:
        return;
    case TEXT:
        ask(w, f);
        return;
    case ENTRY_KEY:
        if (w->at.place == EDIT_BODY || w->at.key.base != w->at.attribute.base)
            ask(w, f);
        return;
    case VALUE:
        if (w->depth == 0 && w->at.place == EDIT_FIELD) {
            w->at.place = EDIT_BODY;
            if (!walk_plain_body(w, f))
                enter(w, f, field_of_value);
            w->at.place = EDIT_FIELD;
            return;
        }
        enter(w, f, field_of_value);
        return;
    case ENTRY_VALUE:
        enter(w, f, field_of_value);
        return;
    case ATTRIBUTES:
        walk_entry(w, f);
        return;
    case ENTRIES:
        enter(w, f, field_of_map);
        return;
    case ELEMENTS:
        enter(w, f, field_of_array);
        return;
    case MESSAGE_R:
        enter(w, f, field_of_resource);
        return;
    case MESSAGE_S:
        enter(w, f, field_of_scope);
        return;
    }
}

static void walk_message(struct walk *w, struct span message, enum what (*field_of)(uint32_t))
{
    struct wire wire;
    struct wire_field f;
    wire_init(&wire, message);
    for (;;) {
        wire_skip_numbers(&wire);
        if (w->err != 0 || !wire_next(&wire, &f))
            break;
        if (f.type == WIRE_LEN)
            walk_field(w, &f, field_of(f.number));
    }
    if (w->err == 0)
        w->err = wire.err;
}

int edit_find(struct edit *e, enum edit_root root, struct span message,
              const struct edit_asker *asker)
{
    static enum what (*const fields[])(uint32_t) = {
        [EDIT_RECORD] = field_of_record,
        [EDIT_RESOURCE] = field_of_resource_logs,
        [EDIT_SCOPE] = field_of_scope_logs,
    };
    struct walk w = {.edit = e, .asker = asker, .at = {.place = EDIT_FIELD}};
    buf_clear(&e->nodes);
    e->message = message;
    walk_message(&w, message, fields[root]);
    return w.err < 0 ? w.err : (int)w.changes;
}

/* ---- the copy ---------------------------------------------------------- */

/* From the last node to the first: what each has become, and what that does to the one above. */
static int64_t measure(const struct edit *e)
{
    struct node *nodes = nodes_of(e);
    int64_t root = 0;
    for (uint32_t i = count_of(e); i-- > 0;) {
        struct node *n = &nodes[i];
        int64_t before = n->content.base + n->content.len - n->head, after = 0;
        if (n->kind == NODE_MESSAGE)
            n->len = (size_t)((int64_t)n->content.len + n->grown);
        else if (n->kind == NODE_VALUE)
            n->len = wire_len_size(1, n->with.len);
        else
            n->len = n->with.len;
        if (n->kind != NODE_REMOVED)
            after = (int64_t)(wire_varint_size(n->len) + n->len);
        if (n->above == NO_NODE)
            root += after - before;
        else
            nodes[n->above].grown += after - before;
    }
    return root;
}

static void put(struct buf *out, const void *bytes, size_t n)
{
    if (n > 0)
        memcpy(out->base + out->len, bytes, n);
    out->len += n;
}

static void put_varint(struct buf *out, uint64_t value)
{
    out->len = (size_t)(wire_put_varint(out->base + out->len, value) - out->base);
}

int edit_apply(struct edit *e, struct buf *out)
{
    size_t wanted = (size_t)((int64_t)e->message.len + measure(e));
    const struct node *nodes = nodes_of(e);
    const uint8_t *at = e->message.base;
    /* A varint is written through room for the longest. */
    int rc = buf_reserve(out, wanted + WIRE_VARINT_BYTES);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count_of(e); i++) {
        const struct node *n = &nodes[i];
        put(out, at, (size_t)(n->head - at));
        at = n->content.base;
        if (n->kind != NODE_REMOVED)
            put_varint(out, n->len);
        if (n->kind == NODE_MESSAGE)
            continue;
        if (n->kind == NODE_VALUE) {
            out->base[out->len++] = VALUE_STRING_HEAD;
            put_varint(out, n->with.len);
        }
        put(out, n->with.base, n->kind == NODE_REMOVED ? 0 : n->with.len);
        at += n->content.len;
    }
    put(out, at, (size_t)(e->message.base + e->message.len - at));
    return 0;
}

void edit_done(struct edit *e)
{
    buf_done(&e->nodes);
}
