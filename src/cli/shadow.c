/* shadow: the admin page, cut to the terminal's width. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/term.h"

/* Lines no wider than the terminal; whole where there is none. */
static void write_cut(struct span text)
{
    unsigned width = term_width(STDOUT_FILENO);
    struct buf out = {0};
    while (width > 0 && text.len > 0) {
        const uint8_t *end = memchr(text.base, '\n', text.len);
        size_t n = end == NULL ? text.len : (size_t)(end - text.base);
        term_add(&out, span_of(text.base, n), width);
        buf_append_byte(&out, '\n');
        text = span_skip(text, n + (end != NULL));
    }
    buf_append(&out, text);
    fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
}

static int ask_words(const struct config *cfg, const char *admin, const struct buf *target)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    int code = f == NULL ? EXIT_BUG : admin_ask(cfg, admin, target, (struct span){0}, f);
    if (f != NULL && fclose(f) != 0)
        code = EXIT_BUG;
    if (code == 0)
        write_cut(span_of(text, len));
    free(text);
    return code;
}

int verb_shadow(int argc, char **argv)
{
    static struct config cfg;
    const char *admin = NULL, *limit = "25";
    bool json = false;
    struct buf target = {0};
    const struct command_flag flags[] = {
        {.name = "json", .given = &json},
        {.name = "limit", .value = &limit},
        {.name = "admin", .value = &admin},
    };
    int first, code = command_load(argc, argv, flags, ARRAY_LEN(flags), &cfg, &first);
    if (code != 0)
        return code;
    if (first < argc) {
        code = command_usage_error("unexpected argument ", argv[first]);
    } else {
        buf_append_str(&target, "/api/shadow");
        admin_add_query(&target, "limit", limit);
        admin_add_query(&target, "as", json ? "json" : "words");
        code = json ? admin_ask(&cfg, admin, &target, (struct span){0}, stdout)
                    : ask_words(&cfg, admin, &target);
    }
    buf_done(&target);
    config_done(&cfg);
    return code;
}
