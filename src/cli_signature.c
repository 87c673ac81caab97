/* cli_signature: lines in, ids out. */
#include "cli_signature.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/signature.h"
#include "pipeline/signature_compat.h"

enum { EXIT_USAGE = 64, EXIT_BUG = 70 };

enum mode { MODE_LPS1, MODE_PY_SDK, MODE_BACKEND };
enum show { SHOW_ID, SHOW_TEMPLATE, SHOW_BYTES };

static const char usage[] =
    "usage: lipservice signature [--mode lps1|py-sdk|backend] [--explain | --bytes]\n"
    "\n"
    "Reads records from standard input, one a line (\\\\, \\n and \\r stand for a\n"
    "backslash and line breaks inside a record), and writes the id of each.\n"
    "\n"
    "  --mode M    lps1 (default): lps1: and 16 hex digits\n"
    "              py-sdk, backend: the MD5 of older LipService versions\n"
    "  --explain   after a tab, the template (older modes: the normalised text),\n"
    "              escaped like the input\n"
    "  --bytes     after a tab, the bytes that were hashed, in hexadecimal\n"
    "  --help      this text\n";

struct verb {
    enum mode mode;
    enum show show;
    struct signer *signer;
    struct compat *compat;
    struct buf shown;
};

/* In place: the record is never longer than its line. */
static size_t unescape(char *line, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        char c = line[i];
        if (c == '\\' && i + 1 < len) {
            char next = line[i + 1];
            if (next == '\\' || next == 'n' || next == 'r') {
                c = next == 'n' ? '\n' : next == 'r' ? '\r' : '\\';
                i++;
            }
        }
        line[out++] = c;
    }
    return out;
}

static void write_escaped(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.base[i]) {
        case '\\':
            fputs("\\\\", stdout);
            break;
        case '\n':
            fputs("\\n", stdout);
            break;
        case '\r':
            fputs("\\r", stdout);
            break;
        default:
            putc_unlocked(s.base[i], stdout);
        }
    }
}

static void write_hex(struct span s)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s.len; i++) {
        putc_unlocked(digits[s.base[i] >> 4], stdout);
        putc_unlocked(digits[s.base[i] & 15], stdout);
    }
}

/* Write the line for one record. False when it cannot be signed. */
static bool answer(struct verb *v, struct span record)
{
    char lps1[SIGNATURE_TEXT_BYTES], md5[COMPAT_MD5_TEXT_BYTES];
    struct span bytes, text;

    if (v->mode == MODE_LPS1) {
        fputs(signature_format(lps1, signer_sign_text(v->signer, record)), stdout);
        bytes = signer_identity(v->signer);
        buf_clear(&v->shown);
        if (v->show == SHOW_TEMPLATE)
            signer_template(v->signer, &v->shown);
        text = buf_span(&v->shown);
    } else {
        enum compat_mode mode = v->mode == MODE_PY_SDK ? COMPAT_PY_SDK : COMPAT_BACKEND;
        if (compat_sign(v->compat, mode, record, md5) < 0)
            return false;
        fputs(md5, stdout);
        bytes = text = compat_normalise(v->compat, mode, record);
    }
    if (v->show != SHOW_ID)
        putc_unlocked('\t', stdout);
    if (v->show == SHOW_TEMPLATE)
        write_escaped(text);
    else if (v->show == SHOW_BYTES)
        write_hex(bytes);
    putc_unlocked('\n', stdout);
    return v->shown.err == 0;
}

static int answer_all(struct verb *v)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t got;
    bool good = true;

    while (good && (got = getline(&line, &cap, stdin)) > 0) {
        size_t len = (size_t)got;
        if (line[len - 1] == '\n')
            len--;
        good = answer(v, span_of(line, unescape(line, len)));
    }
    free(line);
    if (fflush(stdout) != 0 || ferror(stdout) || ferror(stdin))
        good = false;
    if (!good)
        fputs("error: a record could not be read, signed or written\n", stderr);
    return good ? 0 : EXIT_BUG;
}

/* Read the options. Returns -1 to go on, else the exit status. */
static int read_options(struct verb *v, int argc, char **argv)
{
    static const char *const modes[] = {
        [MODE_LPS1] = "lps1", [MODE_PY_SDK] = "py-sdk", [MODE_BACKEND] = "backend"};

    for (int i = 1; i < argc; i++) {
        const char *mode = NULL;
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return fflush(stdout) == 0 ? 0 : EXIT_BUG;
        }
        if (strcmp(argv[i], "--explain") == 0) {
            v->show = SHOW_TEMPLATE;
            continue;
        }
        if (strcmp(argv[i], "--bytes") == 0) {
            v->show = SHOW_BYTES;
            continue;
        }
        if (strncmp(argv[i], "--mode=", 7) == 0)
            mode = argv[i] + 7;
        else if (strcmp(argv[i], "--mode") == 0 && i + 1 < argc)
            mode = argv[++i];

        size_t m = 0;
        while (mode != NULL && m < ARRAY_LEN(modes) && strcmp(mode, modes[m]) != 0)
            m++;
        if (mode == NULL || m == ARRAY_LEN(modes)) {
            fprintf(stderr, "error: signature: '%s' is not an option%s\n\n%s", argv[i],
                    mode != NULL ? " or not a mode" : "", usage);
            return EXIT_USAGE;
        }
        v->mode = (enum mode)m;
    }
    return -1;
}

int cli_signature(int argc, char **argv)
{
    struct verb v = {0};
    int status = read_options(&v, argc, argv);
    if (status >= 0)
        return status;

    int rc = v.mode == MODE_LPS1 ? signer_new(&v.signer) : compat_new(&v.compat);
    if (rc < 0) {
        fprintf(stderr, "error: signature: %s\n", err_text(rc));
        return EXIT_BUG;
    }
    status = answer_all(&v);
    signer_free(v.signer);
    compat_free(v.compat);
    buf_done(&v.shown);
    return status;
}
