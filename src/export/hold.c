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
    return exporter_add(((struct hold *)hold)->exporter, g, record, stamp, service);
}

static void memory_begin(struct hold *h)
{
    (void)h;
}

static int memory_wait(struct hold *h, struct journal_waiter *w)
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
    return rc < 0 ? rc : journal_admit(h->journal, bytes);
}

static double disk_fullness(void *hold)
{
    const struct hold *h = hold;
    double memory = exporter_memory_fullness(h->exporter);
    double disk = journal_fullness(h->journal);
    return memory > disk ? memory : disk;
}

static int disk_add(void *hold, const struct logs_group *g, struct span record, struct span stamp,
                    uint32_t service)
{
    return journal_add(((struct hold *)hold)->journal, g, record, stamp, service);
}

static void disk_begin(struct hold *h)
{
    journal_begin(h->journal);
}

static int disk_wait(struct hold *h, struct journal_waiter *w)
{
    return journal_wait(h->journal, w);
}

void hold_init(struct hold *h, struct exporter *exporter, struct journal *journal)
{
    static const struct hold_ops memory = {memory_admit, memory_fullness, memory_add, memory_begin,
                                           memory_wait};
    static const struct hold_ops disk = {disk_admit, disk_fullness, disk_add, disk_begin,
                                         disk_wait};
    *h = (struct hold){journal == NULL ? &memory : &disk, exporter, journal};
}
