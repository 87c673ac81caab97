/* timestamp: one fixed64 field. */
#include "pipeline/timestamp.h"

#include "otlp/wire.h"

enum { RECORD_TIME_UNIX_NANO = 1 };

static bool is_good(uint64_t ns)
{
    return ns > 0 && ns <= INT64_MAX;
}

struct span timestamp_mend(uint8_t room[TIMESTAMP_BYTES], const struct log_record *r,
                           uint64_t now_ns, struct timestamp_counts *counts)
{
    if (is_good(r->time_unix_ns))
        return (struct span){0};
    counts->filled += r->time_unix_ns == 0;
    counts->repaired += r->time_unix_ns != 0;
    uint64_t ns = is_good(r->observed_unix_ns) ? r->observed_unix_ns : now_ns;
    room[0] = RECORD_TIME_UNIX_NANO << 3 | WIRE_I64;
    for (int i = 0; i < 8; i++)
        room[1 + i] = (uint8_t)(ns >> 8 * i);
    return span_of(room, TIMESTAMP_BYTES);
}
