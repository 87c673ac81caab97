/*
 * attr_text: the text of a value that conditions are held against: numbers and booleans as
 * JSON writes them.
 */
#pragma once

#include "otlp/logs.h"

#define ATTR_TEXT_BYTES 32 /* any int64 or double */

/* Into `room`, or where the value lies. A NULL base: lists, maps, bytes and nothing have no text.
 */
struct span attr_text(const struct log_value *v, char room[ATTR_TEXT_BYTES]);
