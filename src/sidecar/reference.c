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
    "RESOURCE_EXHAUSTED (never to be retried) and UNAVAILABLE with RetryInfo. Strings that are not "
    "UTF-8, known fields with a wrong wire type and messages nested more than 100 deep are refused "
    "at the door: PostHog would refuse the whole merged request for them, and with it other "
    "clients' records.\n"
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
