/* secret: memory that held a key is overwritten before it is given back. */
#pragma once

#include <stdlib.h>
#include <string.h>

/* Not memset(), which a compiler leaves out where nothing reads the memory again. */
static inline void secret_wipe(void *at, size_t bytes)
{
    if (bytes > 0)
        explicit_bzero(at, bytes);
}

/* free() of a text. Accepts NULL. */
static inline void secret_free(char *text)
{
    if (text != NULL)
        secret_wipe(text, strlen(text));
    free(text);
}
