/*
 * answer: what an upstream's answer does to the parcel in hand, and when to
 * try again. Deciding only; the sender acts.
 *
 * Sources: OTLP specification ("OTLP/HTTP Response", "Throttling"); RFC 9110
 * 10.2.3 (Retry-After), 15.5.8, 15.5.20, and 8470 5.2; for 400, 401, 413, 415 and 500 what
 * PostHog's capture service does with them.
 */
#pragma once

#include <stdint.h>

#include "util/rng.h"
#include "util/span.h"

/* clang-format off */
#define ANSWERS(X) \
    X(ACCEPT, "delivered") \
    X(SPLIT,  "halved and sent again") \
    X(RETRY,  "sent again later") \
    X(SPLIT_LATER, "sent again later, then halved") \
    X(RECODE, "sent again with another compression") \
    X(HOLD,   "held until the key is right") \
    X(ASTRAY, "held until the address is right") \
    X(ISOLATE, "halved to find the record that is refused") \
    X(DROP,   "dropped: refused for good")
/* clang-format on */

#define X(name, text) ANSWER_##name,
enum answer { ANSWERS(X) ANSWER_COUNT };
#undef X

/* What a status asks for. Anything that is not a known status is DROP. */
enum answer answer_of_status(int status);
const char *answer_text(enum answer a);

#define BACKOFF_BASE_MS 1000
#define BACKOFF_CAP_MS 30000      /* PostHog's SDK contract: capped at about 30 s */
#define RETRY_AFTER_CAP_MS 900000 /* the longest PostHog was ever meant to ask for */

/* Full jitter: uniform in 0..min(cap, base * 2^(attempts-1)), attempts >= 1.
 * (Brooker, "Exponential Backoff And Jitter") */
uint64_t backoff_ms(struct rng *rng, uint32_t attempts);

/* The Retry-After header as a time to wait from unix_ns, by seconds or by
 * HTTP-date. 0 when it is absent, in the past or nonsense. */
uint64_t retry_after_ms(struct span value, uint64_t unix_ns);
