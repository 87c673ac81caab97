/* signature_words: the lists, one row each, and the filling of the table.
 * The lookup reads words as little-endian numbers, as both platforms of ours are. */
#include "pattern/signature_words.h"

#include <assert.h>
#include <stddef.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are compared as numbers");
static_assert(WORD_SLOTS == 1 << 10, "words_slot() takes 10 bits");

static const struct {
    uint16_t set;
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
     "microsecond microseconds"},
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
    /* clang-format on */
};

static void add(struct words *w, const char *word, size_t len, uint16_t set)
{
    uint64_t half[2] = {0};
    assert(len > 0 && len <= WORD_MAX_BYTES);
    memcpy(half, word, len);

    uint32_t slot = words_slot(half[0], half[1]);
    while (w->slots[slot].sets != 0 &&
           (w->slots[slot].low != half[0] || w->slots[slot].high != half[1]))
        slot = (slot + 1) % WORD_SLOTS;
    w->slots[slot] = (struct word_slot){half[0], half[1], (uint16_t)(w->slots[slot].sets | set)};
    w->may_start[len] |= 1u << (word[0] - 'a');
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
