/* sidecar_memory: memory.limit as three accounts, and who has to give way in each. */
#include "sidecar/sidecar_state.h"

/* Of memory.limit: for connections, heads and answers, and for pages. What is left is for records:
 * bodies, queue and tables. However full that is, a request can still be refused in its protocol,
 * and a page can say why. */
#define OVERHEAD_PART 8
#define PAGES_PART 8

/* Of what is for connections: for handshakes of TLS, so that a flood of them leaves room for the
 * streams and answers of those who are through. */
#define HANDSHAKES_PART 2

/* Of memory.limit: the most that history.memory may be, so that a small limit leaves room for
 * records; and of it, for lines of patterns. */
#define HISTORY_PART 16
#define SAMPLES_PART 4

/* Of what is for records: for bodies that arrive, so that those which never end leave room for
 * the queue and for what is decoded. */
#define BODIES_PART (2.0 / 3)

static void each_set(struct sidecar *sc, struct stream_victim *out,
                     void (*look)(struct stream_set *set, struct stream_victim *out))
{
    struct listener *ports[] = {&sc->grpc, &sc->http};
    for (size_t i = 0; i < ARRAY_LEN(ports); i++)
        if (ports[i]->set != NULL)
            look(ports[i]->set, out);
}

static bool evict(const struct stream_victim *v)
{
    if (v->stream == NULL)
        return false;
    stream_evict(v);
    return true;
}

static bool on_no_room_for_bodies(void *ctx, uint64_t missing)
{
    (void)missing;
    struct stream_victim v = {0};
    each_set(ctx, &v, stream_set_slowest);
    return evict(&v);
}

static bool on_no_room_for_answers(void *ctx, uint64_t missing)
{
    (void)missing;
    struct stream_victim v = {0};
    each_set(ctx, &v, stream_set_held);
    if (v.stream == NULL)
        each_set(ctx, &v, stream_set_stalled);
    return evict(&v);
}

/* Not those whose window is shut: they would come again for another page, which costs more than
 * what a full account has to say. */
static bool on_no_room_for_pages(void *ctx, uint64_t missing)
{
    (void)missing;
    struct sidecar *sc = ctx;
    struct page_server *servers[] = {&sc->health, &sc->metrics, &sc->admin};
    struct stream_victim v = {0};
    for (size_t i = 0; i < ARRAY_LEN(servers); i++)
        if (servers[i]->listener.set != NULL)
            stream_set_stalled(servers[i]->listener.set, &v);
    return evict(&v);
}

/* Sparks of quiet patterns are what is missed least. */
static bool on_no_room_for_history(void *ctx, uint64_t missing)
{
    (void)missing;
    struct sidecar *sc = ctx;
    struct history *h = history_of(sc);
    return h != NULL && sparks_give_way(history_sparks(h));
}

static void init_history(struct sidecar *sc)
{
    uint64_t most = sc->cfg->memory_limit_bytes / HISTORY_PART;
    uint64_t wanted = sc->cfg->history_bytes;
    budget_init(&sc->history_memory, wanted < most ? wanted : most);
    budget_init(&sc->sample_memory, sc->history_memory.limit / SAMPLES_PART);
    sc->history_memory.parent = &sc->budget;
    sc->history_memory.reclaim = on_no_room_for_history;
    sc->history_memory.ctx = sc;
    sc->sample_memory.parent = &sc->history_memory;
}

void sidecar_memory_init(struct sidecar *sc)
{
    uint64_t limit = sc->cfg->memory_limit_bytes;
    uint64_t overhead = limit / OVERHEAD_PART, pages = limit / PAGES_PART;
    uint64_t records = limit - overhead - pages;
    const struct {
        struct budget *budget;
        uint64_t limit;
        bool (*reclaim)(void *ctx, uint64_t missing);
    } accounts[] = {
        {&sc->budget, records, on_no_room_for_bodies},
        {&sc->bodies, (uint64_t)((double)records * BODIES_PART), on_no_room_for_bodies},
        {&sc->overhead, overhead, on_no_room_for_answers},
        {&sc->handshake_memory, overhead / HANDSHAKES_PART, on_no_room_for_answers},
        {&sc->page_memory, pages, on_no_room_for_pages},
    };
    for (size_t i = 0; i < ARRAY_LEN(accounts); i++) {
        budget_init(accounts[i].budget, accounts[i].limit);
        accounts[i].budget->reclaim = accounts[i].reclaim;
        accounts[i].budget->ctx = sc;
    }
    sc->bodies.parent = &sc->budget;
    sc->handshake_memory.parent = &sc->overhead;
    init_history(sc);
}

struct budget sidecar_memory(const struct sidecar *sc)
{
    const struct budget *accounts[] = {&sc->budget, &sc->overhead, &sc->page_memory};
    struct budget sum = {0};
    for (size_t i = 0; i < ARRAY_LEN(accounts); i++) {
        sum.limit += accounts[i]->limit;
        sum.used += accounts[i]->used;
        sum.peak += accounts[i]->peak;
        sum.refused += accounts[i]->refused;
    }
    return sum;
}
