/* fuzz_config: any bytes as a configuration file. What is accepted can be
 * printed, and what is printed is accepted again and prints the same; what is
 * refused has a message. */
#include <assert.h>
#include <stdlib.h>

#include "config/config.h"
#include "util/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const struct config *cfg, struct buf *out)
{
    buf_clear(out);
    int rc = config_print(cfg, out);
    assert(rc == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *env[] = {"A=one", "B=", "C={a: [b]}", NULL};
    const struct config_input none = {.file = "/dev/null"};
    struct error err = {{0}};
    struct buf first = {0}, second = {0};
    struct config cfg, again;
    int rc = config_load(&cfg, &none, &err);
    assert(rc == 0);
    rc = config_read_yaml(&cfg, "fuzz", (struct span){data, size}, "", env, &err);
    if (rc == 0) {
        print(&cfg, &first);
        rc = config_load(&again, &none, &err);
        assert(rc == 0);
        rc = config_read_yaml(&again, "print", buf_span(&first), "", env, &err);
        assert(rc == 0);
        print(&again, &second);
        assert(span_eq(buf_span(&first), buf_span(&second)));
        config_done(&again);
    } else {
        assert(err.text[0] != '\0');
    }
    config_done(&cfg);
    buf_done(&first);
    buf_done(&second);
    return 0;
}
