/* posthog_analyze_report: a policy file, and what it would save, in words or as JSON. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/posthog_analyze.h"
#include "pattern/signature.h"
#include "util/json.h"

#define SHOWN_PATTERNS 10
#define BAR_CELLS 30
#define GB 1e9

/* ---- the bar ----------------------------------------------------------- */

void analyze_show_bar(struct analyze *a, uint32_t done, uint32_t all)
{
    int percent = all == 0 ? 100 : (int)((uint64_t)done * 100 / all);
    if (a->bar_percent < 0 || percent == a->bar_percent)
        return;
    a->bar_percent = percent;
    int cells = percent * BAR_CELLS / 100;
    fprintf(stderr, "\r[%.*s%*s] %3d%%", cells, "##############################", BAR_CELLS - cells,
            "", percent);
    fflush(stderr);
}

void analyze_hide_bar(const struct analyze *a)
{
    if (a->bar_percent >= 0)
        fprintf(stderr, "\r\033[K");
}

/* ---- the policy -------------------------------------------------------- */

static void policy_json(struct buf *out, const struct analyze *a)
{
    const struct analysis_result *r = &a->result;
    char id[SIGNATURE_TEXT_BYTES];
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_u64(&j, "version", clock_unix_ns(clock_real()) / 1000000000);
    json_str(&j, "generated_by", "lipservice posthog analyze");
    json_u64(&j, "global_rate", 1);
    json_begin(&j, "severity_rates");
    for (int l = 0; l < LEVEL_COUNT; l++)
        json_u64(&j, level_name((enum level)l), 1);
    json_end(&j);
    json_begin(&j, "pattern_rates");
    for (uint32_t i = 0, n = 0; i < r->pattern_count && n < RULES_PATTERNS_MAX; i++) {
        if (r->patterns[i].proposal.rate >= 1)
            continue;
        json_printf(&j, signature_format(id, r->patterns[i].id), "%.6g",
                    r->patterns[i].proposal.rate);
        n++;
    }
    json_end(&j);
    json_end(&j);
    json_line(&j);
}

/* Whole or not at all. */
int analyze_write_policy(const struct analyze *a)
{
    struct buf text = {0}, tmp = {0};
    struct error err = {{0}};
    policy_json(&text, a);
    buf_printf(&tmp, "%s.tmp", a->policy_file);
    buf_append_byte(&tmp, '\0');
    int rc = text.err != 0 ? text.err : tmp.err;
    FILE *f = rc < 0 ? NULL : fopen((char *)tmp.base, "we");
    if (rc == 0 && f == NULL)
        rc = err_set(&err, ERR_UNAVAILABLE, "%.200s: cannot be written: %s", a->policy_file,
                     strerror(errno));
    if (rc == 0 && (fwrite(text.base, 1, text.len, f) != text.len || fflush(f) != 0))
        rc = err_set(&err, ERR_UNAVAILABLE, "%.200s: cannot be written: %s", a->policy_file,
                     strerror(errno));
    if (f != NULL && fclose(f) != 0 && rc == 0)
        rc = err_set(&err, ERR_UNAVAILABLE, "%.200s: cannot be written: %s", a->policy_file,
                     strerror(errno));
    if (rc == 0 && rename((char *)tmp.base, a->policy_file) != 0)
        rc = err_set(&err, ERR_UNAVAILABLE, "%.200s: cannot be written: %s", a->policy_file,
                     strerror(errno));
    if (rc < 0 && tmp.err == 0)
        unlink((char *)tmp.base);
    buf_done(&text);
    buf_done(&tmp);
    return rc < 0 ? command_die(rc, &err) : 0;
}

/* ---- figures ----------------------------------------------------------- */

/* All of a month. */
struct figures {
    double gb, saved_gb, saved_gb_low, saved_gb_high;
    double cost, saved, saved_low, saved_high; /* money */
    double months;                             /* that the time is */
};

static double saving(const struct analyze *a, double bytes, double saved_bytes)
{
    return money_saving(&a->terms, bytes, fmax(bytes - saved_bytes, 0));
}

static struct figures figures_of(const struct analyze *a)
{
    const struct analysis_result *r = &a->result;
    double months = a->hours * 3600 / GOVERNOR_MONTH_S;
    double bytes = r->bytes.value / months;
    return (struct figures){
        .gb = bytes / GB,
        .saved_gb = r->saved.value / months / GB,
        .saved_gb_low = r->saved.low / months / GB,
        .saved_gb_high = r->saved.high / months / GB,
        .cost = money_price(&a->terms, bytes),
        .saved = saving(a, bytes, r->saved.value / months),
        .saved_low = saving(a, r->bytes.low / months, r->saved.low / months),
        .saved_high = saving(a, r->bytes.high / months, r->saved.high / months),
        .months = months,
    };
}

/* Its part of the price. */
static double cost_of(const struct figures *f, const struct analyze *a,
                      const struct analysis_pattern *p)
{
    return a->result.bytes.value > 0 ? f->cost * p->bytes / a->result.bytes.value : 0;
}

/* ---- JSON -------------------------------------------------------------- */

static void sum_json(struct json *j, const char *key, double value, double low, double high)
{
    json_begin(j, key);
    json_printf(j, "value", "%.9g", value);
    json_printf(j, "low", "%.9g", low);
    json_printf(j, "high", "%.9g", high);
    json_end(j);
}

static void pattern_json(struct json *j, const struct figures *f, const struct analyze *a,
                         const struct analysis_pattern *p)
{
    char id[SIGNATURE_TEXT_BYTES];
    json_begin(j, NULL);
    json_str(j, "pattern", signature_format(id, p->id));
    json_text(j, "service", p->service);
    json_str(j, "severity", level_name(p->level));
    json_text(j, "template", p->template_text);
    json_printf(j, "records_per_hour", "%.6g", p->records / a->hours);
    json_printf(j, "gb_per_month", "%.9g", p->bytes / f->months / GB);
    json_printf(j, "cost_per_month", "%.9g", cost_of(f, a, p));
    json_printf(j, "rate", "%.6g", p->rate_now);
    json_printf(j, "rate_proposed", "%.6g", p->proposal.rate);
    json_str(j, "why", p->proposal.why);
    json_end(j);
}

static void report_json(struct buf *out, const struct analyze *a)
{
    const struct analysis_result *r = &a->result;
    const struct figures f = figures_of(a);
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_printf(&j, "hours", "%.9g", a->hours);
    json_printf(&j, "rows", "%.15g", a->slices.rows);
    json_u64(&j, "rows_read", r->seen);
    json_bool(&j, "all_were_read", a->is_complete && !a->is_cut);
    json_u64(&j, "requests", a->requests);
    json_printf(&j, "weighted_share", "%.6g", r->weighted_share);
    sum_json(&j, "bytes", r->bytes.value, r->bytes.low, r->bytes.high);
    sum_json(&j, "records", r->records.value, r->records.low, r->records.high);
    sum_json(&j, "saved_bytes", r->saved.value, r->saved.low, r->saved.high);
    json_printf(&j, "gb_per_month", "%.9g", f.gb);
    sum_json(&j, "saved_gb_per_month", f.saved_gb, f.saved_gb_low, f.saved_gb_high);
    json_str(&j, "currency", a->session.cfg.cost.currency);
    json_bool(&j, "prices_are_assumed", a->terms.is_assumed);
    json_printf(&j, "cost_per_month", "%.9g", f.cost);
    sum_json(&j, "saved_per_month", f.saved, f.saved_low, f.saved_high);
    json_str(&j, "policy_file", a->policy_file);
    json_u64(&j, "warmed", a->known);
    json_begin_list(&j, "patterns");
    for (uint32_t i = 0; i < r->pattern_count && i < SHOWN_PATTERNS; i++)
        pattern_json(&j, &f, a, &r->patterns[i]);
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
}

/* ---- words ------------------------------------------------------------- */

static void words_patterns(struct buf *out, const struct analyze *a, const struct figures *f)
{
    const struct analysis_result *r = &a->result;
    char id[SIGNATURE_TEXT_BYTES];
    buf_printf(out, "\n%8s %9s %7s %7s  %-5s pattern\n", "GB/month", "money", "rate", "becomes",
               "");
    for (uint32_t i = 0; i < r->pattern_count && i < SHOWN_PATTERNS; i++) {
        const struct analysis_pattern *p = &r->patterns[i];
        buf_printf(out, "%8.3f %9.2f %7.3g %7.3g  %-5s %s ", p->bytes / f->months / GB,
                   cost_of(f, a, p), p->rate_now, p->proposal.rate, level_name(p->level),
                   signature_format(id, p->id));
        json_write_string(out, p->service);
        buf_append_byte(out, ' ');
        json_write_string(out, p->template_text);
        buf_printf(out, "\n%*s%s\n", 36, "", p->proposal.why);
    }
}

static void words_money(struct buf *out, const struct analyze *a, const struct figures *f)
{
    const char *currency = a->session.cfg.cost.currency;
    const char *assumed = a->terms.is_assumed ? ", prices assumed" : "";
    if (f->cost <= 0)
        buf_printf(out, "money       none: %.4g GB of a month are free%s\n",
                   money_free_bytes(&a->terms) / GB, assumed);
    else if (a->is_complete)
        buf_printf(out, "money       %.2f of %.2f %s a month are saved%s\n", f->saved, f->cost,
                   currency, assumed);
    else
        buf_printf(out, "money       %.2f (%.2f to %.2f) of %.2f %s a month are saved%s\n",
                   f->saved, f->saved_low, f->saved_high, f->cost, currency, assumed);
}

static void words_guard(struct buf *out, const struct analyze *a)
{
    const struct guarded *g = a->guarded;
    if (a->unguarded[0] != '\0')
        buf_printf(out, "unguarded   what PostHog counts is not known: %s\n", a->unguarded);
    if (guard_count(g->guard) > 0)
        buf_printf(out, "guarded     what %u alerts, metrics, views and insights count\n",
                   guard_count(g->guard));
    for (unsigned i = 0; i < g->found; i++)
        if (!g->findings[i].is_fine && !g->findings[i].is_guarded)
            buf_printf(out, "unguarded   %s %s: %s\n", guard_kind_name(g->findings[i].kind),
                       g->findings[i].name, g->findings[i].why);
}

static void report_words(struct buf *out, const struct analyze *a)
{
    const struct analysis_result *r = &a->result;
    const struct figures f = figures_of(a);
    buf_printf(out, "rows        %.0f of the last %.4g hours; %llu were read with %u requests%s\n",
               a->slices.rows, a->hours, (unsigned long long)r->seen, a->requests,
               a->is_cut ? ", and then there was no more time" : "");
    if (r->weighted_share > 0)
        buf_printf(out, "sampled     %.3g %% of them stand for several: %.4g records in all\n",
                   100 * r->weighted_share, r->records.value);
    buf_printf(out, "stored      %.3f GB a month\n", f.gb);
    if (a->is_complete)
        buf_printf(out, "saving      %.3f GB a month\n", f.saved_gb);
    else
        buf_printf(out, "saving      %.3f GB a month (%.3f to %.3f in 95 of 100 cases)\n",
                   f.saved_gb, f.saved_gb_low, f.saved_gb_high);
    words_money(out, a, &f);
    words_guard(out, a);
    words_patterns(out, a, &f);
    if (a->warms)
        buf_printf(out, "\nknown       %u patterns, to the running program\n", a->known);
    buf_printf(out,
               "\nthe policy is in %s; `sampling.policy_file` puts it in force, and "
               "`shadow.policy_file` only counts\n",
               a->policy_file);
}

int analyze_report(const struct analyze *a)
{
    struct buf out = {0};
    (a->json ? report_json : report_words)(&out, a);
    int rc = out.err;
    if (rc == 0 && (fwrite(out.base, 1, out.len, stdout) != out.len || fflush(stdout) != 0))
        rc = ERR_IO;
    buf_done(&out);
    return rc;
}
