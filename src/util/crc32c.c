/* crc32c: one instruction, or a small table. */
#include "util/crc32c.h"

/* The register (0x1edc6f41 reflected) after four steps, by its low four bits: 64 bytes that
 * stay in the cache. About 0.3 GB/s, where there is no instruction. */
static const uint32_t nibbles[16] = {
    0x00000000u, 0x105ec76fu, 0x20bd8edeu, 0x30e349b1u, 0x417b1dbcu, 0x5125dad3u,
    0x61c69362u, 0x7198540du, 0x82f63b78u, 0x92a8fc17u, 0xa24bb5a6u, 0xb21572c9u,
    0xc38d26c4u, 0xd3d3e1abu, 0xe330a81au, 0xf36e6f75u,
};

uint32_t crc32c_portable(uint32_t crc, struct span s)
{
    crc = ~crc;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= s.base[i];
        crc = crc >> 4 ^ nibbles[crc & 15];
        crc = crc >> 4 ^ nibbles[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, struct span s)
{
    uint64_t c = ~crc;
    for (; s.len >= 8; s = span_skip(s, 8)) {
        uint64_t word;
        memcpy(&word, s.base, sizeof word);
        c = __builtin_ia32_crc32di(c, word);
    }
    for (size_t i = 0; i < s.len; i++)
        c = __builtin_ia32_crc32qi((uint32_t)c, s.base[i]);
    return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, struct span s)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, s);
#endif
    return crc32c_portable(crc, s);
}
