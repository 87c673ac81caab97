/*
 * json: JSON text, written member by member. Commas are the writer's business.
 *
 *     struct json j = json_on(out);
 *     json_begin(&j, NULL);
 *     json_u64(&j, "received", 7);
 *     json_begin_list(&j, "lost");
 *     json_str(&j, NULL, "disk");
 *     json_end_list(&j);
 *     json_end(&j);                     {"received":7,"lost":["disk"]}
 *
 * A key is a constant that needs no escapes, or NULL: the next element of a list, the value
 * behind json_key(), the whole text. Failures are the buf's, and sticky.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/span.h"

struct json {
    struct buf *out;
    bool has_member; /* where the next one goes: a comma comes first */
};

static inline struct json json_on(struct buf *out)
{
    return (struct json){.out = out};
}

void json_begin(struct json *j, const char *key); /* { */
void json_end(struct json *j);
void json_begin_list(struct json *j, const char *key); /* [ */
void json_end_list(struct json *j);

/* A key that may be anything; the value is the next call's, whose key is NULL. */
void json_key(struct json *j, struct span key);

void json_text(struct json *j, const char *key, struct span text);
void json_str(struct json *j, const char *key, const char *text);
void json_u64(struct json *j, const char *key, uint64_t n);
void json_i64(struct json *j, const char *key, int64_t n);
void json_bool(struct json *j, const char *key, bool is_true);
void json_null(struct json *j, const char *key);

/* A value as printf() gives it: numbers with so many digits, and strings that need no escapes. */
void json_printf(struct json *j, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The key and what stands before it; the caller appends the value. */
struct buf *json_value(struct json *j, const char *key);

/* The end of a line: what follows is a text of its own. */
void json_line(struct json *j);

/* Append text as a JSON string with its quotes, where no writer is at work. Bytes that are not
 * UTF-8 become U+FFFD. */
void json_write_string(struct buf *out, struct span text);
