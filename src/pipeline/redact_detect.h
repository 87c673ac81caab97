/*
 * redact_detect: where in a text secrets and personal data stand.
 *
 *     for each pair of bytes:  is it a trigger?             no: the next
 *                              yes: a check by hand around it, bounded or consumed by its hit
 *
 * Pure functions on spans. Form alone is not enough for numbers: check digits, issuers, lengths
 * by country and edges decide (the shapes are those of gitleaks and Presidio).
 *
 * Cost       one pass, linear in the text whatever it holds: a check reads a bounded number of
 *            bytes, or bytes that no other check reads again.
 * Ownership  spans are read during the call only. No allocation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/redact_kinds.h"
#include "pipeline/redact_triggers.h"
#include "util/span.h"

struct redact_hit {
    size_t at, len; /* what is to be replaced: of bearer, url_password, assigned the secret only */
    unsigned kind;
};

struct redact_detector {
    uint64_t kinds; /* bit per enum redact_kind */
    struct redact_triggers triggers;
    bool is_word[256];
    uint8_t keys_of[256]; /* the first row of keys that begins with this byte, plus 1; 0: none */
};

void redact_detector_init(struct redact_detector *d, uint64_t kinds);

/* The first hit that begins at or behind `from`. Hits do not overlap: ask again from at + len.
 * `look`: of the message that the text may be a part of; NULL: none. False: there is none. */
bool redact_next(const struct redact_detector *d, const struct redact_look *look, struct span text,
                 size_t from, struct redact_hit *hit);

/* Is this what redaction puts in the place of a value, or what stands for one elsewhere: ***,
 * xxxxx, $VAR, %s, <any>, null? */
bool redact_is_placeholder(struct span value);
