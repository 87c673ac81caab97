/*
 * redact_state: what a redactor is made of. For the files that implement it.
 */
#pragma once

#include "otlp/edit.h"
#include "pipeline/redact.h"
#include "util/arena.h"

/* A Resource or a scope, and behind it what it has become. */
struct redact_cached {
    uint8_t *bytes; /* NULL: this slot is free */
    size_t len, changed_len;
    uint64_t hash, changed_hash;
    int what; /* REDACT_SAME, _CHANGED, _DROPPED */
};

/* A name that stood in this place of the record before: records of one program have the same. */
struct redact_known {
    uint8_t len;  /* 0: unknown */
    uint8_t what; /* enum redact_name */
    uint8_t name[30];
};

#define REDACT_PLACES 16

struct redactor {
    struct redact_opts opts;
    struct redact_detector detector;
    struct redact_patterns patterns;
    struct redact_look look; /* of the message under way */
    struct redact_scan scan; /* of the text under way */
    struct redact_stats stats;
    struct edit edit;
    struct arena texts; /* changed ones, until the message is written */
    struct buf text, record, resource, scope;
    struct buf shown, name; /* a record or a text, a template or a name: for people */
    struct redact_cached cached[2][REDACT_CACHE_SLOTS]; /* Resources, scopes */
    struct redact_name_list exempt;                     /* those of the options */
    char *protected; /* names of redactor_protect(); NULL: none */
    size_t protected_len;
    uint64_t *seen; /* by service: kinds; NULL: no first sights are noted */

    struct redact_known known[REDACT_PLACES];

    /* Of the call under way. */
    unsigned place; /* of the next attribute or entry of a map */
    uint32_t service;
    enum redact_where where, around; /* around: REDACT_WHERE_COUNT in a record */
    struct span named;               /* nearest name above the text */
    uint64_t found;                  /* kinds */
    bool is_quiet, is_shown;         /* counts nothing; changes in whatever mode */
    bool is_dropped;
};

/* ---- redact.c ---- */

const char *redact_name_of(const struct redactor *r, unsigned kind);

/* A hit of the call under way. */
void redact_note(struct redactor *r, const struct redact_hit *hit);

/* ---- redact_replace.c ---- */

/* Behind the first hit of r->scan: note all hits of its text, and write it with placeholders into
 * *out, which is cleared; NULL: only note. 0, or ERR_*. */
MUST_CHECK int redact_replace(struct redactor *r, struct redact_hit first, struct buf *out);

/* Append what stands for a value of this kind; a failure is in out->err. */
void redact_placeholder(struct redactor *r, unsigned kind, struct span value, struct buf *out);
