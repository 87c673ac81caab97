/*
 * analyst: a language model may choose among the proposed rates, and say why.
 *
 * It is given the proposals that save most, by short numbers: a template, counts, the rate now and
 * the rate that is proposed (policy/proposal). It answers with a rate for each number, which must
 * lie between these two. So nothing that it says, and nothing that a line of a log says to it, goes
 * further than the proposal itself; an answer with one rate outside, a number that is not there or
 * twice, or no rates at all is no answer. What it does not speak of stays as proposed.
 *
 * Limits     ANALYST_ITEMS proposals; texts as below.
 * Memory     one of these a request that asks, 30 kB, within API_ANSWER_BYTES that it is charged.
 * Blocking   never. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/redact.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

#define ANALYST_ITEMS 50           /* with more, small models lose count */
#define ANALYST_TEMPLATE_BYTES 240 /* of a template that it is shown */
#define ANALYST_REASON_BYTES 120   /* of what it says of a pattern, and is kept */
#define ANALYST_SUMMARY_BYTES 400  /* and of all */
#define ANALYST_REASONS 10         /* of these are kept with the version */

struct analyst_item {
    char signature[68];
    const char *level;
    double per_hour, bytes; /* records; kept now, in the time that was looked at */
    double now, proposed, chosen;
    char template_text[ANALYST_TEMPLATE_BYTES + 1], reason[ANALYST_REASON_BYTES + 1];
};

struct analysis {
    struct analyst_item items[ANALYST_ITEMS];
    unsigned count;
    bool has_chosen;
    bool is_over;        /* it was asked, or cannot be */
    const char *why_not; /* where it is over and has not chosen */
    char summary[ANALYST_SUMMARY_BYTES + 1];
};

/* One proposal: it is among the items where it saves more than another one that is. */
void analysis_add(struct analysis *a, const struct analyst_item *item);

/* The template of an item, as far as it fits; what the redactor finds in it is replaced. */
void analysis_set_template(struct analyst_item *item, struct span text, struct redactor *r);

/* The task of the model, the schema of its answer, and the question. */
extern const char analyst_task[], analyst_schema[];
void analysis_write(const struct analysis *a, struct buf *out);

/* Its answer: in a fence, or between prose, as it may be. ERR_MALFORMED: it is none, *why says so
 * and nothing has changed. ERR_NOMEM. */
MUST_CHECK int analysis_take(struct analysis *a, struct span text, const char **why);

/* The rate of a pattern of which now another one is proposed: what was chosen, between the two. */
double analysis_rate(const struct analysis *a, struct span signature, double now, double proposed);

/* Append what it said, for the version that comes of it. */
void analysis_write_reasons(const struct analysis *a, struct buf *out);
