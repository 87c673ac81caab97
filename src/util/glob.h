/* glob: `*` matches any bytes, none included; everything else is itself. The
 * whole text must match. Linear in practice, never worse than len * pattern. */
#pragma once

#include <stdbool.h>

#include "util/span.h"

static inline bool glob_matches(struct span pattern, struct span text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.base[p] == '*') {
            star = p++;
            resume = t;
            if (p == pattern.len)
                return true; /* whatever is left */
        } else if (p < pattern.len && pattern.base[p] == text.base[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.base[p] == '*')
        p++;
    return p == pattern.len;
}
