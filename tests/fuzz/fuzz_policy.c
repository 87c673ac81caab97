/* fuzz_policy: any bytes as a policy file, and as a policy server's answer. What
 * is accepted gives thresholds in range; what is refused has a message. What a file
 * may say in JSON means the same as a server's answer. */
#include <assert.h>
#include <stdlib.h>

#include "config/config.h"
#include "policy/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct rules *r)
{
    for (int l = 0; l < LEVEL_COUNT; l++) {
        enum rules_source source;
        uint64_t t = rules_threshold(r, 0xaa, 0xaa, (enum level)l, &source);
        assert(t <= RULES_REJECT_ALL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_object *json;
    static struct rules *base;
    if (json == NULL && (json_object_new(&json, POLICY_DOCUMENT_BYTES) < 0 || rules_new(&base) < 0))
        abort();
    struct span text = {data, size};
    struct policy_notes notes;
    struct rules *of_file = NULL, *of_server = NULL;
    struct error err = {{0}}, unused = {{0}};
    int rc =
        policy_document_read_file(&of_file, config_visit_yaml, "fuzz", text, base, &notes, &err);
    assert(rc == 0 || (of_file == NULL && err.text[0] != '\0'));
    if (rc == 0)
        check(of_file);
    rc = policy_document_read(&of_server, json, text, base, &notes, &unused);
    assert(rc == 0 || of_server == NULL);
    if (rc == 0)
        check(of_server);
    if (of_file != NULL && of_server != NULL)
        assert(rules_version(of_file) == rules_version(of_server));
    rules_unref(of_file);
    rules_unref(of_server);
    return 0;
}
