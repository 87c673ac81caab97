/* answer: a page into memory, then a tree. */
#include "cli/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "util/json.h"

#define FILE_BYTES (1u << 20) /* as long as a policy may be */

int answer_ask(const struct config *cfg, const char *admin, struct span target, struct span body,
               void (*say)(struct json_node root))
{
    char *text = NULL;
    size_t len = 0;
    struct buf path = {0};
    struct json_doc *doc = NULL;
    struct json_node root;
    FILE *f = open_memstream(&text, &len);
    buf_append(&path, target);
    int code = f == NULL || path.err != 0 ? EXIT_BUG : admin_ask(cfg, admin, &path, body, f);
    if (f != NULL && fclose(f) != 0)
        code = EXIT_BUG;
    if (code == 0 && say == NULL)
        fwrite(text, 1, len, stdout);
    else if (code == 0 && json_doc_new(&doc, span_of(text, len), NULL, &root) == 0)
        say(root);
    else if (code == 0)
        code = EXIT_BUG;
    json_doc_free(doc);
    buf_done(&path);
    free(text);
    return code;
}

int answer_read_file(struct buf *out, const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (f == NULL) {
        fprintf(stderr, "lipservice: cannot read '%s': %s\n", path, strerror(errno));
        return EXIT_USAGE;
    }
    out->max_bytes = FILE_BYTES;
    while (out->err == 0 && buf_reserve(out, 4096) == 0) {
        size_t n = fread(out->base + out->len, 1, out->cap - out->len, f);
        out->len += n;
        if (n == 0)
            break;
    }
    bool is_bad = out->err != 0 || ferror(f);
    if (f != stdin)
        fclose(f);
    if (is_bad)
        return command_usage_error("cannot be read, or is larger than a policy may be: ", path);
    return 0;
}

void answer_append_name(struct buf *out, struct span name)
{
    if (name.len == 0)
        buf_append_str(out, "(unnamed)");
    else
        json_write_string(out, name);
}
