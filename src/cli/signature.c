/* signature: lines in, ids out. */
#include "cli/verbs.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otlp/logs.h"
#include "pattern/families.h"
#include "pattern/plain_record.h"
#include "pattern/signature.h"
#include "pattern/signature_compat.h"

enum { EXIT_USAGE = 64, EXIT_BUG = 70 };

/* Whole files are read: what is known of their first line must last to the end. */
#define SIGNATURES_MAX (1u << 18)
#define HOLES_MAX (1u << 20)
#define WEIGHT_DEFAULT "6"

enum mode { MODE_LPS1, MODE_PY_SDK, MODE_BACKEND };
enum show { SHOW_ID, SHOW_TEMPLATE, SHOW_BYTES, SHOW_HINT };
enum input { INPUT_LINES, INPUT_ESCAPED, INPUT_RECORDS };

static const char usage[] =
    "usage: lipservice signature [--mode lps1|py-sdk|backend] [--explain | --bytes | --hint]\n"
    "                            [--escaped | --records]\n"
    "       lipservice signature --families[=WEIGHT]\n"
    "\n"
    "Reads log lines from standard input and writes the id of each, the one that the sidecar\n"
    "gives to a record with that line as its body.\n"
    "\n"
    "  --mode M    lps1 (default): lps1: and 16 hex digits\n"
    "              py-sdk, backend: the MD5 of older LipService versions\n"
    "  --explain   after a tab, the template (older modes: the normalised text), its\n"
    "              backslashes and line breaks escaped\n"
    "  --bytes     after a tab, the bytes that were hashed, in hexadecimal\n"
    "  --hint      instead of the id, the severity that the line names itself, if any\n"
    "  --escaped   \\\\, \\n and \\r in a line stand for a backslash and line breaks, for\n"
    "              bodies of several lines\n"
    "  --records   a line is a record as JSON, likewise escaped: {\"body\": any,\n"
    "              \"attributes\": {...}, \"event_name\": \"...\", \"scope\": \"...\"}\n"
    "  --families  instead of ids, those of the families that the patterns belong to\n"
    "              once all input is read; WEIGHT is sampling.family_weight (6)\n"
    "  --help      this text\n";

struct verb {
    enum mode mode;
    enum show show;
    enum input input;
    struct buf record, scope_logs; /* of the record at hand */
    struct signer *signer;
    struct compat *compat;
    struct buf shown;
    struct families *families; /* NULL: ids of patterns */
    struct buf ids;            /* of all lines, to be resolved when all are read */
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

/* The record that a line stands for; a text alone is the body of one. False: it is none. */
static bool read_record(struct verb *v, struct span line, struct sign_input *in)
{
    struct log_record r;
    *in = (struct sign_input){.body = {.kind = LOG_STRING, .text = line}};
    if (v->input != INPUT_RECORDS)
        return true;
    buf_clear(&v->record);
    buf_clear(&v->scope_logs);
    if (plain_record_read(line, &v->record, &v->scope_logs) < 0 ||
        log_record_read(&r, buf_span(&v->record)) < 0)
        return false;
    *in = (struct sign_input){.event_name = r.event_name,
                              .record = buf_span(&v->record),
                              .scope_logs = buf_span(&v->scope_logs),
                              .body = r.body,
                              .is_plain = !r.may_name};
    return true;
}

/* Remember one record. */
static bool learn(struct verb *v, struct span line)
{
    struct sign_input in;
    if (!read_record(v, line, &in))
        return false;
    uint64_t id = signer_sign(v->signer, &in);
    families_add(v->families, id, signer_identity(v->signer), 0);
    buf_append(&v->ids, span_of(&id, sizeof id));
    return v->ids.err == 0;
}

/* Write the family of every record. */
static void answer_families(struct verb *v)
{
    char text[SIGNATURE_TEXT_BYTES];
    for (size_t at = 0; at < v->ids.len; at += sizeof(uint64_t)) {
        uint64_t id;
        memcpy(&id, v->ids.base + at, sizeof id);
        puts(signature_format(text, families_resolve(v->families, id)));
    }
}

/* Write the line for one record. False when it cannot be signed. */
static bool answer(struct verb *v, struct span record)
{
    char lps1[SIGNATURE_TEXT_BYTES], md5[COMPAT_MD5_TEXT_BYTES];
    struct span bytes, text;
    struct sign_input in;

    if (v->mode == MODE_LPS1) {
        if (!read_record(v, record, &in))
            return false;
        if (v->show == SHOW_HINT)
            return puts(sign_level_name(signer_hint(v->signer, &in))) >= 0;
        fputs(signature_format(lps1, signer_sign(v->signer, &in)), stdout);
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
        struct span record = span_of(line, v->input == INPUT_LINES ? len : unescape(line, len));
        good = v->families != NULL ? learn(v, record) : answer(v, record);
    }
    free(line);
    if (v->families != NULL)
        answer_families(v);
    if (fflush(stdout) != 0 || ferror(stdout) || ferror(stdin))
        good = false;
    if (!good)
        fputs("error: a record could not be read, signed or written\n", stderr);
    return good ? 0 : EXIT_BUG;
}

/* False: not a weight, or no memory. */
static bool open_families(struct verb *v, const char *weight)
{
    char *end;
    unsigned long n = strtoul(weight, &end, 10);
    struct families_opts opts = {
        .weight = (uint32_t)n, .max_signatures = SIGNATURES_MAX, .max_holes = HOLES_MAX};
    families_free(v->families);
    v->families = NULL;
    if (*end != '\0' || n < FAMILY_WEIGHT_MIN || n > FAMILY_WEIGHT_MAX) {
        fprintf(stderr, "error: signature: --families: '%s' is not a weight from %d to %d\n",
                weight, FAMILY_WEIGHT_MIN, FAMILY_WEIGHT_MAX);
        return false;
    }
    return families_new(&v->families, &opts) == 0;
}

/* Options that stand alone, and what they set. */
static const struct flag {
    const char *name;
    enum show show;
    enum input input;
} flags[] = {
    {"--explain", SHOW_TEMPLATE, 0}, {"--bytes", SHOW_BYTES, 0},      {"--hint", SHOW_HINT, 0},
    {"--escaped", 0, INPUT_ESCAPED}, {"--records", 0, INPUT_RECORDS},
};

static bool read_flag(struct verb *v, const char *arg)
{
    size_t f = 0;
    while (f < ARRAY_LEN(flags) && strcmp(arg, flags[f].name) != 0)
        f++;
    if (f == ARRAY_LEN(flags))
        return false;
    v->show = flags[f].show != 0 ? flags[f].show : v->show;
    v->input = flags[f].input != 0 ? flags[f].input : v->input;
    return true;
}

static bool read_mode(struct verb *v, const char *mode)
{
    static const char *const modes[] = {
        [MODE_LPS1] = "lps1", [MODE_PY_SDK] = "py-sdk", [MODE_BACKEND] = "backend"};
    for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
        if (strcmp(mode, modes[m]) != 0)
            continue;
        v->mode = (enum mode)m;
        return true;
    }
    return false;
}

static int refuse(const char *arg, const char *why)
{
    fprintf(stderr, "error: signature: %s%s\n\n%s", arg, why, usage);
    return EXIT_USAGE;
}

/* Read the options. Returns -1 to go on, else the exit status. */
static int read_options(struct verb *v, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *mode = NULL;
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return fflush(stdout) == 0 ? 0 : EXIT_BUG;
        }
        if (read_flag(v, argv[i]))
            continue;
        if (strcmp(argv[i], "--families") == 0 || strncmp(argv[i], "--families=", 11) == 0) {
            if (!open_families(v, argv[i][10] == '=' ? argv[i] + 11 : WEIGHT_DEFAULT))
                return EXIT_USAGE;
            continue;
        }
        if (strncmp(argv[i], "--mode=", 7) == 0)
            mode = argv[i] + 7;
        else if (strcmp(argv[i], "--mode") == 0 && i + 1 < argc)
            mode = argv[++i];
        if (mode == NULL)
            return refuse(argv[i], " is not an option");
        if (!read_mode(v, mode))
            return refuse(mode, " is not a mode");
    }
    if (v->families != NULL && (v->mode != MODE_LPS1 || v->show != SHOW_ID))
        return refuse("--families", " goes with no other form of output");
    if (v->mode != MODE_LPS1 && (v->input == INPUT_RECORDS || v->show == SHOW_HINT))
        return refuse("--mode", " of older versions knows lines alone");
    return -1;
}

int verb_signature(int argc, char **argv)
{
    struct verb v = {0};
    int status = read_options(&v, argc, argv);
    if (status >= 0) {
        families_free(v.families);
        return status;
    }

    int rc = v.mode == MODE_LPS1 ? signer_new(&v.signer) : compat_new(&v.compat);
    if (rc < 0) {
        fprintf(stderr, "error: signature: %s\n", err_text(rc));
        return EXIT_BUG;
    }
    status = answer_all(&v);
    signer_free(v.signer);
    compat_free(v.compat);
    families_free(v.families);
    buf_done(&v.record);
    buf_done(&v.scope_logs);
    buf_done(&v.ids);
    buf_done(&v.shown);
    return status;
}
