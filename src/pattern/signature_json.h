/*
 * signature_json: JSON text, value by value, where it lies.
 *
 * Not simdjson, for the signature is the same for ever and on every machine: numbers of any
 * size are numbers, half a surrogate pair is U+FFFD, bytes that are not UTF-8 stay.
 */
#pragma once

#include "pattern/signature_map.h"

struct json {
    const uint8_t *at, *end;
};

/* json_peek() from white space on. */
uint8_t json_peek_behind(struct json *j);

/* The next byte that is not white space, which stays; 0: the end. */
static inline uint8_t json_peek(struct json *j)
{
    return j->at<j->end && * j->at> ' ' ? *j->at : json_peek_behind(j);
}

/* Step over that byte if it is this one. */
static inline bool json_accept(struct json *j, uint8_t c)
{
    bool is = json_peek(j) == c;
    j->at += is;
    return is;
}

/* A string, what is between its quotes as it stands there: json_unescape() if `escaped`. */
bool json_read_string(struct json *j, struct span *out, bool *escaped);

/* A value that is no object and no array. */
bool json_read_scalar(struct json *j, struct map_value *v);
