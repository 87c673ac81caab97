/* signature_words: the lists, one row each, and the filling of the table.
 * The lookup reads words as little-endian numbers, as both platforms of ours are. */
#include "pattern/signature_words.h"

#include <assert.h>
#include <stddef.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are compared as numbers");
static_assert(WORD_SLOTS == 1 << 10, "words_slot() takes 10 bits");

#define LEVEL(name) ((uint32_t)SIGN_LEVEL_##name << WORD_LEVEL_AT)

static const struct {
    uint32_t set;
    const char *words; /* one space between */
} lists[] = {
    /* clang-format off */
    {WORD_MONTH,
     "jan feb mar apr may jun jul aug sep sept oct nov dec january february march april "
     "june july august september october november december"},
    {WORD_DAY,
     "mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday "
     "sunday"},
    {WORD_ZONE,
     "utc gmt pst pdt est edt cst cdt mst mdt cet cest bst ist jst z am pm"},
    {WORD_UNIT,
     "b kb mb gb tb pb kib mib gib tib byte bytes ns us ms s sec secs second seconds min "
     "mins minute minutes hour hours day days msec usec millisecond milliseconds "
     "microsecond microseconds h hr hrs bit bits kbit mbit gbit bps kbps mbps gbps hz khz "
     "mhz ghz ki mi gi percent"},
    {WORD_ATOM,
     "true false null nil none nan undefined"},
    {WORD_KEEP,
     "ipv4 ipv6 sha1 sha256 sha512 md5 utf8 utf-8 base64 http2 oauth2 x86 x86_64 log4j s3 "
     "ec2 k8s p2p h2 l1 l2 l3 v4 v6 i386 amd64 arm64 win32 int32 int64 uint32 uint64"},
    {WORD_DOMAIN,
     "com net org edu gov mil info biz dev app cloud arpa local localdomain internal "
     "intranet lan corp cn de uk jp fr ru nl br au ca kr tw eu io"},
    {WORD_TEXT_KEY,
     "msg message event err error exception level lvl severity"},
    {WORD_SLOT_BEFORE,
     "for by from to of as invalid illegal unknown"},
    {WORD_SLOT_NOT,
     "authentication account session id name agent data request"},
    {WORD_ID_KEY,
     "id ids name uuid guid key token host hostname user username path url uri file addr "
     "address topic queue table bucket"},
    {WORD_USER,
     "user"},
    {WORD_PORT_AFTER,
     "to from at on via by with host server proxy peer client address addr connect connecting "
     "connected upstream dial tcp endpoint"},
    {WORD_METHOD,
     "get head post put delete patch options connect trace propfind report search copy move "
     "lock unlock mkcol purge"},
    {LEVEL(TRACE), "trace verbose finest finer trc vrb trce"},
    {LEVEL(DEBUG), "debug dbg dbug fine"},
    {LEVEL(INFO), "info information informational notice inf"},
    {LEVEL(WARN), "warn warning wrn"},
    {LEVEL(ERROR), "error err severe fail eror"},
    {LEVEL(FATAL), "fatal critical crit alert emerg emergency panic ftl"},
    {WORD_WEAK,
     "fine finer finest verbose fail alert panic"},
    {WORD_CAPS,
     "trace verbose debug info notice warn warning error severe fatal critical crit alert "
     "emerg vrb dbg inf wrn err ftl log"},
    {WORD_ZONE_CAPS,
     "utc gmt cest cet est edt pst pdt cst cdt mst mdt bst ist jst eet eest msk am pm"},
    {WORD_NULL,
     "null"},
    /* clang-format on */
};

static void add(struct words *w, const char *word, size_t len, uint32_t set)
{
    uint64_t half[2] = {0};
    assert(len > 0 && len <= WORD_MAX_BYTES);
    memcpy(half, word, len);

    uint32_t slot = words_slot(half[0], half[1]);
    while (w->slots[slot].sets != 0 &&
           (w->slots[slot].low != half[0] || w->slots[slot].high != half[1]))
        slot = (slot + 1) % WORD_SLOTS;
    w->slots[slot] = (struct word_slot){half[0], half[1], w->slots[slot].sets | set};
    w->may_start[len][word[0] & 31] |= len > 1 ? 1u << (word[1] & 31) : UINT32_MAX;
}

void words_init(struct words *w)
{
    *w = (struct words){0};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const char *at = lists[i].words;
        while (*at != '\0') {
            size_t len = strcspn(at, " ");
            add(w, at, len, lists[i].set);
            at += len;
            at += *at == ' ';
        }
    }
}
