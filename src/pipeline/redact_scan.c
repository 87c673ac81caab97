/* redact_scan: the detectors' hits and the patterns' matches, merged. */
#include "pipeline/redact_scan.h"

void redact_scan_init(struct redact_scan *s, const struct redact_detector *d,
                      const struct redact_patterns *patterns, const struct redact_look *look,
                      struct span text)
{
    s->detector = d;
    s->patterns = patterns;
    s->look = look;
    s->text = text;
    s->at = 0;
    s->built_in.len = 0;
    s->built_in_done = false;
    s->done = 0;
    s->given_up = 0;
    for (unsigned i = 0; i < patterns->count; i++)
        s->matches[i].len = 0;
}

static void ask_detector(struct redact_scan *s)
{
    if (s->built_in_done || (s->built_in.len > 0 && s->built_in.at >= s->at))
        return;
    if (!redact_next(s->detector, s->look, s->text, s->at, &s->built_in)) {
        s->built_in.len = 0;
        s->built_in_done = true;
    }
}

static void ask_pattern(struct redact_scan *s, unsigned i)
{
    struct redact_hit *hit = &s->matches[i];
    struct regex_match m;
    if ((s->done >> i & 1) != 0 || (hit->len > 0 && hit->at >= s->at))
        return;
    if (regex_next(s->patterns->regex[i], s->text, s->at, &m)) {
        *hit = (struct redact_hit){m.at, m.len, REDACT_KIND_COUNT + i};
        s->given_up += m.is_given_up;
    } else {
        hit->len = 0;
        s->done |= 1u << i;
    }
}

static const struct redact_hit *earlier(const struct redact_hit *a, const struct redact_hit *b)
{
    if (a == NULL || a->len == 0)
        return b->len > 0 ? b : NULL;
    return b->len > 0 && (b->at < a->at || (b->at == a->at && b->len > a->len)) ? b : a;
}

bool redact_scan_next(struct redact_scan *s, struct redact_hit *hit)
{
    ask_detector(s);
    const struct redact_hit *first = earlier(NULL, &s->built_in);
    for (unsigned i = 0; i < s->patterns->count; i++) {
        ask_pattern(s, i);
        first = earlier(first, &s->matches[i]);
    }
    if (first == NULL)
        return false;
    *hit = *first;
    size_t end = hit->at + hit->len;
    /* What overlaps is hidden with it: its rest would be left over. */
    for (unsigned i = 0; i <= s->patterns->count; i++) {
        const struct redact_hit *h = i < s->patterns->count ? &s->matches[i] : &s->built_in;
        if (h->len > 0 && h->at < end && h->at + h->len > end) {
            end = h->at + h->len;
            i = (unsigned)-1; /* which may overlap one that was passed */
        }
    }
    hit->len = end - hit->at;
    s->at = end;
    return true;
}
