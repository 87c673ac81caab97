/* assets: found by name. */
#include "server/assets.h"

#include <assert.h>

struct span asset_text(const char *name)
{
    for (const struct asset *a = server_assets; a->name != NULL; a++)
        if (strcmp(a->name, name) == 0)
            return a->text;
    assert(false); /* named in this program, and not in it */
    return (struct span){0};
}
