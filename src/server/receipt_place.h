/* receipt_place: where a report is in the journal. */
#pragma once

#include <stdint.h>

struct receipt_place {
    uint64_t file, at; /* at: of its frame, in bytes */
};
