/* le: little-endian integers in bytes, whatever the machine's own order is. */
#pragma once

#include <stdint.h>

static inline void le32_put(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static inline void le64_put(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static inline uint32_t le32_get(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t le64_get(const uint8_t *at)
{
    return (uint64_t)le32_get(at) | (uint64_t)le32_get(at + 4) << 32;
}
