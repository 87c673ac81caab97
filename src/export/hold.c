/* hold: two tables. */
#include "export/hold.h"

/* ---- in memory --------------------------------------------------------- */

static int memory_admit(void *hold, size_t bytes, size_t largest)
{
    return exporter_admit(((struct hold *)hold)->exporter, bytes, largest);
}

static double memory_fullness(void *hold)
{
    return exporter_fullness(((struct hold *)hold)->exporter);
}

static int memory_add(void *hold, const struct logs_group *g, struct span record, struct span stamp,
                      uint32_t service)
{
    return exporter_add(((struct hold *)hold)->exporter, LANE_PLAIN, g, record, stamp, service);
}

static int memory_add_error(void *hold, const struct logs_group *g, struct span record,
                            struct span stamp, uint32_t service)
{
    return exporter_add(((struct hold *)hold)->exporter, LANE_URGENT, g, record, stamp, service);
}

static void memory_begin(struct hold *h)
{
    (void)h;
}

static int memory_wait(struct hold *h, struct hold_waiter *w)
{
    (void)h;
    (void)w;
    return 0;
}

/* ---- on disk ----------------------------------------------------------- */

static int disk_admit(void *hold, size_t bytes, size_t largest)
{
    const struct hold *h = hold;
    int rc = exporter_admit_memory(h->exporter, bytes, largest);
    return rc < 0 ? rc : journal_admit(h->journals[LANE_PLAIN], bytes);
}

static double disk_fullness(void *hold)
{
    const struct hold *h = hold;
    double memory = exporter_memory_fullness(h->exporter);
    double disk = journal_fullness(h->journals[LANE_PLAIN]);
    return memory > disk ? memory : disk;
}

static int disk_add(void *hold, const struct logs_group *g, struct span record, struct span stamp,
                    uint32_t service)
{
    return journal_add(((struct hold *)hold)->journals[LANE_PLAIN], g, record, stamp, service);
}

static int disk_add_error(void *hold, const struct logs_group *g, struct span record,
                          struct span stamp, uint32_t service)
{
    const struct hold *h = hold;
    bool has_room = journal_admit(h->journals[LANE_URGENT], record.len + stamp.len) == 0;
    enum exporter_lane lane = has_room ? LANE_URGENT : LANE_PLAIN;
    return journal_add(h->journals[lane], g, record, stamp, service);
}

static void disk_begin(struct hold *h)
{
    for (int lane = 0; lane < LANE_COUNT; lane++)
        if (h->journals[lane] != NULL)
            journal_begin(h->journals[lane]);
}

static void one_is_done(struct hold_waiter *w, int rc)
{
    if (rc < 0)
        w->rc = rc;
    if (--w->pending == 0)
        w->done(w, w->rc);
}

static void on_plain(struct journal_waiter *in, int rc)
{
    one_is_done(container_of(in, struct hold_waiter, in[LANE_PLAIN]), rc);
}

static void on_urgent(struct journal_waiter *in, int rc)
{
    one_is_done(container_of(in, struct hold_waiter, in[LANE_URGENT]), rc);
}

static int disk_wait(struct hold *h, struct hold_waiter *w)
{
    static void (*const done[])(struct journal_waiter *, int) = {on_plain, on_urgent};
    w->pending = w->rc = 0;
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        list_init(&w->in[lane].link);
        w->in[lane].done = done[lane];
    }
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        int rc = h->journals[lane] != NULL ? journal_wait(h->journals[lane], &w->in[lane]) : 0;
        if (rc < 0) {
            hold_forget(w);
            return rc;
        }
        w->pending += rc;
    }
    return w->pending > 0;
}

void hold_forget(struct hold_waiter *w)
{
    for (int lane = 0; lane < LANE_COUNT; lane++)
        journal_forget(&w->in[lane]);
}

void hold_init(struct hold *h, struct exporter *exporter,
               struct journal *const journals[LANE_COUNT], bool errors_first)
{
    static const struct hold_ops memory = {memory_admit,     memory_fullness, memory_add,
                                           memory_add_error, memory_begin,    memory_wait};
    static const struct hold_ops disk = {disk_admit,     disk_fullness, disk_add,
                                         disk_add_error, disk_begin,    disk_wait};
    *h = (struct hold){.ops = journals[LANE_PLAIN] == NULL ? memory : disk, .exporter = exporter};
    for (int lane = 0; lane < LANE_COUNT; lane++)
        h->journals[lane] = journals[lane];
    h->is_on_disk = journals[LANE_PLAIN] != NULL;
    if (!errors_first)
        h->ops.add_error = NULL;
}
