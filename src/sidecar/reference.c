/* reference: the tables of pages and metrics, and what stands around them. */
#include "sidecar/reference.h"

#include "sidecar/sidecar_state.h"

static const char head[] =
    "# Interfaces and metrics\n"
    "\n"
    "The ports, the pages behind them, and every metric: what `lipservice metrics --markdown` "
    "prints.\n"
    "\n"
    "## Ports and pages\n"
    "\n"
    "4317 and 4318 take OTLP on both loopback addresses: gRPC, HTTP/2 by prior knowledge and "
    "HTTP/1.1 on either port, distinguished by the first bytes; `gzip`, `deflate`, `zstd`. Paths "
    "are "
    "`/v1/logs`, `/v1/traces`, `/v1/metrics`, each also under `/i`, with or without trailing slash "
    "and query.\n"
    "\n"
    "Requests are refused as OTLP asks: a `google.rpc.Status` in the request's encoding with 400, "
    "404, 405, 413, 415, 503 and `Retry-After` (a 404 for PostHog's own paths, `/batch/`, `/e/`, "
    "`/flags/` and others, says which host takes them), or gRPC's INVALID_ARGUMENT, UNIMPLEMENTED, "
    "RESOURCE_EXHAUSTED (never to be retried) and UNAVAILABLE with RetryInfo. What leaves is "
    "always sound: strings that are not UTF-8, known fields with a wrong wire type and messages "
    "nested more than 100 deep do not pass the door, because PostHog would refuse the whole merged "
    "request for them, and with it other clients' records.\n"
    "\n"
    "One bad record costs one record. What can be repaired is, and counted "
    "(`lipservice_receiver_repairs_total`): bytes that are not UTF-8 and lone surrogates become "
    "U+FFFD; in JSON, integers beyond 64 bits become the string of their digits, numbers with a "
    "fraction a double, and times that cannot be the observed time or now. What cannot be (damage "
    "inside a record, a value of another type, bad base64 or hex, an unknown severity, too deep) "
    "is "
    "left out: the answer is 200 with a `partialSuccess` in the request's encoding, with "
    "`rejectedLogRecords` and the first reason, the ledger counts it as rejected, and the log says "
    "`records_refused`. The whole request is refused with 400 (INVALID_ARGUMENT) when its framing "
    "or "
    "what stands around the records is damaged, when JSON is no JSON, when no record of it is any "
    "good, when it would take more than 1 MiB of U+FFFD, and always with `receivers.otlp.strict: "
    "true`.\n"
    "\n"
    "JSON may have its keys as the `.proto` files spell them (`log_records`) and `severityNumber` "
    "by name. JSON without any record and with keys that OTLP does not have is answered by 200 "
    "with a `partialSuccess` that says so, and one line of the log (`request_not_otlp`). "
    "`/i/v1/logs` takes any content type or none, protobuf or JSON, and gzip without a header, as "
    "PostHog does.\n"
    "\n"
    "The pages of 55679 show messages and their templates, so that port stays on loopback. A page "
    "for which there is no memory now is a 503; so is `/metrics` until the sidecar has started.\n"
    "\n";

static const char metrics[] = "\n"
                              "## Metrics\n"
                              "\n"
                              "What is not there is left out of the page, and not shown as 0.\n"
                              "\n";

void reference_write(struct buf *out)
{
    buf_append_str(out, head);
    sidecar_write_pages_markdown(out);
    buf_append_str(out, metrics);
    sidecar_write_metrics_markdown(out);
}
