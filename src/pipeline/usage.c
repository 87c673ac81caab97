/* usage: the ledger's rows now, less what was said of them. */
#include "pipeline/usage.h"

#include <inttypes.h>
#include <stdlib.h>

#include "pipeline/event_record.h"

struct usage {
    struct usage_opts opts;
    struct event_record record;
    struct ledger_row *said; /* by service */
    uint64_t *since_ns;      /* of the first record that was not said; by service */
    uint64_t began_ns, ends_ns;
};

static size_t bytes_of(const struct usage_opts *o)
{
    return o->max_services * (sizeof(struct ledger_row) + sizeof(uint64_t));
}

int usage_new(struct usage **out, const struct usage_opts *opts)
{
    if (budget_take(opts->budget, bytes_of(opts)) < 0)
        return ERR_NOMEM;
    struct usage *u = calloc(1, sizeof *u);
    if (u == NULL) {
        budget_give(opts->budget, bytes_of(opts));
        return ERR_NOMEM;
    }
    u->opts = *opts;
    u->said = calloc(opts->max_services, sizeof *u->said);
    u->since_ns = calloc(opts->max_services, sizeof *u->since_ns);
    if (u->said == NULL || u->since_ns == NULL) {
        usage_free(u);
        return ERR_NOMEM;
    }
    *out = u;
    return 0;
}

void usage_free(struct usage *u)
{
    if (u == NULL)
        return;
    budget_give(u->opts.budget, bytes_of(&u->opts));
    event_record_done(&u->record);
    free(u->said);
    free(u->since_ns);
    free(u);
}

static uint64_t lost(const struct ledger_row *r)
{
    uint64_t sum = 0;
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        sum += r->fate[f];
    return sum;
}

/* Of one service since it was last spoken of. 0; ERR_*: it was not taken. */
static int say(struct usage *u, uint32_t service, uint64_t unix_ns)
{
    const struct ledger_row *now = ledger_row(u->opts.ledger, service);
    const struct ledger_row *said = &u->said[service];
    const struct {
        const char *key;
        uint64_t count;
    } counts[] = {
        {"lipservice.received", now->received - said->received},
        {"lipservice.kept", now->verdict[VERDICT_KEPT] - said->verdict[VERDICT_KEPT]},
        {"lipservice.sampled_out",
         now->verdict[VERDICT_SAMPLED_OUT] - said->verdict[VERDICT_SAMPLED_OUT]},
        {"lipservice.dropped_by_rule",
         now->verdict[VERDICT_DROPPED_BY_RULE] - said->verdict[VERDICT_DROPPED_BY_RULE]},
        {"lipservice.rejected", now->verdict[VERDICT_REJECTED] - said->verdict[VERDICT_REJECTED]},
        {"lipservice.joined", now->verdict[VERDICT_JOINED] - said->verdict[VERDICT_JOINED]},
        {"lipservice.released", now->released - said->released},
        {"lipservice.lost", lost(now) - lost(said)},
        {"lipservice.received_bytes", now->received_bytes - said->received_bytes},
        {"lipservice.sent_bytes",
         now->kept_bytes + now->released_bytes - said->kept_bytes - said->released_bytes},
    };
    struct event_record *r = &u->record;
    struct logs_group g;
    struct span record, name = ledger_service_name(u->opts.ledger, service);
    uint64_t all = 0;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        all += counts[i].count;
    if (all == 0)
        return 0;
    event_record_begin(r, "lipservice.usage", false, unix_ns, name);
    event_record_body(r, "%" PRIu64 " of %" PRIu64 " records were sent",
                      counts[1].count + counts[6].count, counts[0].count);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        event_record_count(r, counts[i].key, counts[i].count);
    event_record_time(r, "lipservice.since", u->since_ns[service]);
    int rc = event_record_end(r, u->opts.seed, &g, &record);
    return rc < 0 ? rc : u->opts.send(u->opts.ctx, &g, record);
}

static void say_all(struct usage *u, uint64_t unix_ns)
{
    for (uint32_t i = 0; i < ledger_services(u->opts.ledger); i++) {
        if (u->since_ns[i] == 0)
            u->since_ns[i] = u->began_ns;
        /* Sending counts under "lipservice", and under no other service. */
        bool is_ours = i != LEDGER_OTHER &&
                       span_eq(ledger_service_name(u->opts.ledger, i), SPAN("lipservice"));
        struct ledger_row now = *ledger_row(u->opts.ledger, i);
        if (is_ours || say(u, i, unix_ns) < 0)
            continue;
        u->said[i] = now;
        u->since_ns[i] = unix_ns;
    }
}

void usage_tick(struct usage *u, uint64_t unix_ns)
{
    uint64_t interval_ns = u->opts.interval_ms * 1000000;
    if (u->ends_ns == 0)
        u->began_ns = unix_ns;
    else if (unix_ns >= u->ends_ns)
        say_all(u, unix_ns);
    else
        return;
    u->ends_ns = (unix_ns / interval_ns + 1) * interval_ns;
}

void usage_finish(struct usage *u, uint64_t unix_ns)
{
    if (u->began_ns == 0)
        u->began_ns = unix_ns;
    say_all(u, unix_ns);
}
