/* fuzz_policy_sync: a byte that chooses the message, and the message: as protobuf, and as JSON.
 * What is read as protobuf is JSON that goes back to the same protobuf, but where a policy has
 * fields that are not known; what a response says is policies, or refused with a reason. */
#include <assert.h>
#include <string.h>

#include "otlp/policy_sync.h"
#include "policy/tero.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY (32u << 20)

static void read_policies(struct json_node root)
{
    struct tero *t = NULL;
    struct error err = {{0}};
    struct buf out = {0};
    struct json j = json_on(&out);
    int rc = tero_new_of(&t, root, 1, NULL, &err);
    assert(rc == 0 || err.text[0] != '\0' || rc == ERR_TOO_BIG);
    if (rc == 0) {
        json_begin_list(&j, NULL);
        tero_take_statuses(t, &j);
        json_end_list(&j);
        assert(tero_invalid(t) <= tero_policies(t));
    }
    buf_done(&out);
    tero_free(t);
}

static void from_protobuf(enum policy_sync_message kind, struct span message)
{
    struct budget budget = {.limit = MEMORY};
    struct buf json = {0}, wire = {0}, again = {0};
    struct json_doc *doc = NULL;
    struct json_node root;
    struct error err = {{0}};
    int rc = policy_sync_to_json(&json, kind, message, &budget);
    assert(budget.used == 0);
    assert(rc == 0 || rc == ERR_MALFORMED || rc == ERR_TOO_BIG || rc == ERR_FULL);
    if (rc == 0) {
        assert(json_doc_new(&doc, buf_span(&json), NULL, &root) == 0);
        rc = policy_sync_to_protobuf(&wire, kind, root, &err);
        assert(rc == 0 || (rc == ERR_CONFIG && err.text[0] != '\0'));
        if (rc == 0 && wire.len <= POLICY_SYNC_BYTES) {
            assert(policy_sync_to_json(&again, kind, buf_span(&wire), NULL) == 0);
            assert(span_eq(buf_span(&json), buf_span(&again)));
        }
        if (kind == POLICY_SYNC_RESPONSE)
            read_policies(root);
    }
    json_doc_free(doc);
    buf_done(&json);
    buf_done(&wire);
    buf_done(&again);
}

static void from_json(enum policy_sync_message kind, struct span text)
{
    struct buf wire = {0}, json = {0};
    struct json_doc *doc = NULL;
    struct json_node root;
    struct error err = {{0}};
    if (json_doc_new(&doc, text, NULL, &root) < 0)
        return;
    int rc = policy_sync_to_protobuf(&wire, kind, root, &err);
    assert(rc == 0 || (rc == ERR_CONFIG && err.text[0] != '\0'));
    if (rc == 0)
        assert(policy_sync_to_json(&json, kind, buf_span(&wire), NULL) == 0 ||
               wire.len > POLICY_SYNC_BYTES);
    if (kind == POLICY_SYNC_RESPONSE)
        read_policies(root);
    json_doc_free(doc);
    buf_done(&wire);
    buf_done(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum policy_sync_message kind = (data[0] & 1) != 0 ? POLICY_SYNC_RESPONSE : POLICY_SYNC_REQUEST;
    struct span rest = span_of(data + 1, size - 1);
    from_protobuf(kind, rest);
    from_json(kind, rest);
    return 0;
}
