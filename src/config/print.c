/* print: the effective configuration, and the reference of all settings. */
#include "config/config.h"

#include <string.h>

#include "config/options.h"

/* Sections open as the keys go by: "a.b.c" after "a.b.d" shares two levels. */
static const char *open_sections(struct buf *out, const char *last, const char *key, int *depth)
{
    size_t shared = 0;
    *depth = 0;
    for (size_t i = 0; last[i] != '\0' && last[i] == key[i]; i++) {
        if (key[i] == '.') {
            shared = i + 1;
            ++*depth;
        }
    }
    const char *rest = key + shared, *dot;
    while ((dot = strchr(rest, '.')) != NULL) {
        buf_printf(out, "%*s%.*s:\n", *depth * 2, "", (int)(dot - rest), rest);
        ++*depth;
        rest = dot + 1;
    }
    return rest;
}

static bool has_entries(const void *at)
{
    static const char none[8];
    return memcmp(at, none, sizeof none) != 0;
}

int config_print(const struct config *cfg, struct buf *out)
{
    const char *last = "";
    for (const struct option *o = config_options; o->key != NULL; o++) {
        const void *at = (const char *)cfg + o->offset;
        int depth;
        if (o->kind->print == NULL && (o->kind->print_entries == NULL || !has_entries(at)))
            continue;
        const char *name = open_sections(out, last, o->key, &depth);
        buf_printf(out, "%*s%s:", depth * 2, "", name);
        buf_append_str(out, o->kind->print != NULL ? " " : "\n");
        if (o->kind->print != NULL) {
            o->kind->print(at, out);
            buf_append_byte(out, '\n');
        } else {
            o->kind->print_entries(at, depth * 2 + 2, out);
        }
        last = o->key;
    }
    return out->err;
}

/* ---- the reference ----------------------------------------------------- */

static const char *fallback_text(const struct option *o)
{
    return o->fallback[0] == '\0' ? "\"\"" : o->fallback;
}

static const char *sources_text(const struct option *o)
{
    return o->kind->parse != NULL ? "" : " (file and --set only)"; /* not in the environment */
}

/* Maps and lists come last. */
void config_reference(struct buf *out)
{
    for (int scalars = 1; scalars >= 0; scalars--)
        for (const struct option *o = config_options; o->key != NULL; o++)
            if (o->help != NULL && (o->kind->parse != NULL) == scalars)
                buf_printf(out, "%-42s %-26s %s%s\n", o->key, fallback_text(o), o->help,
                           sources_text(o));
}

/* What Markdown takes for a cell's end, HTML, emphasis or code is escaped. */
static void print_cell_text(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("|<*`\\", *text) != NULL)
            buf_append_byte(out, '\\');
        buf_append_byte(out, (uint8_t)*text);
    }
}

static void print_row(struct buf *out, const struct option *o)
{
    buf_printf(out, "| `%s` | `%s` | %s | ", o->key, fallback_text(o),
               o->is_live ? "yes" : "restart");
    print_cell_text(out, o->help);
    if (o->wanted != NULL)
        buf_printf(out, " (%s)", o->wanted);
    buf_printf(out, "%s |\n", sources_text(o));
}

void config_reference_markdown(struct buf *out)
{
    const char *group = "";
    size_t len = 0; /* of the group, the first part of a key */
    buf_append_str(out, "# Settings\n\n<!-- introduction -->\n<!-- end of introduction -->\n");
    for (const struct option *o = config_options; o->key != NULL; o++) {
        if (o->help == NULL)
            continue;
        if (strcspn(o->key, ".") != len || strncmp(o->key, group, len) != 0) {
            group = o->key;
            len = strcspn(group, ".");
            buf_printf(out,
                       "\n## %.*s\n\n| setting | default | reload | what |\n|---|---|---|---|\n",
                       (int)len, group);
        }
        print_row(out, o);
    }
}
