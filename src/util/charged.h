/*
 * charged: malloc() and its family for libraries that take an allocator: each piece is charged to
 * the account that `budget` (a struct budget, or NULL) is, and stands behind its own size.
 *
 * NULL when the account or the heap says no.
 */
#pragma once

#include <stddef.h>

void *charged_malloc(size_t size, void *budget);
void *charged_calloc(size_t count, size_t size, void *budget);
void *charged_realloc(void *at, size_t size, void *budget);
void charged_free(void *at, void *budget); /* accepts NULL */
