/* routes: everything that can be asked for, and by whom. */
#include "server/api.h"

#define REPORTERS (ROLE_REPORT | ROLE_WRITE | ROLE_ADMIN)
#define READERS (ROLE_READ | ROLE_WRITE | ROLE_ADMIN)
#define WRITERS (ROLE_WRITE | ROLE_ADMIN)

/* A path matches with and without a slash at its end. */
/* clang-format off */
const struct route api_routes[] = {
    {METHOD_GET,  "/",                   0, .on_loop = page_root},
    {METHOD_GET,  "/health",             0, .on_loop = page_health},
    {METHOD_GET,  "/ready",              0, .on_loop = page_ready},
    {METHOD_GET,  "/metrics",            0, .on_loop = page_metrics, .content_type = "text/plain; version=0.0.4"},
    {METHOD_GET,  "/openapi.json",       0, .on_loop = page_openapi},

    {METHOD_GET,  "/api/v1/me",     ROLE_ANY, .on_loop = api_me},
    {METHOD_GET,  "/api/v1/totals", READERS, .on_store = api_totals},

    {METHOD_POST, "/api/v1/patterns/stats", REPORTERS, .on_loop = intake_report, .has_body = true},

    {METHOD_GET,  "/api/v1/policies/{service_name}",                    ROLE_ANY, .on_loop = poll_policy},
    {METHOD_PUT,  "/api/v1/policies/{service_name}",                    WRITERS, .on_store = api_policy_put, .has_body = true},
    {METHOD_GET,  "/api/v1/policies/{service_name}/history",            READERS, .on_store = api_policy_history},
    {METHOD_GET,  "/api/v1/policies/{service_name}/versions/{version}", READERS, .on_store = api_policy_version},
    {METHOD_GET,  "/api/v1/policies/{service_name}/diff",               READERS, .on_store = api_policy_diff},
    {METHOD_POST, "/api/v1/policies/{service_name}/rollback",           WRITERS, .on_store = api_policy_rollback, .has_body = true},
    {METHOD_POST, "/api/v1/policies/{service_name}/activate",           WRITERS, .on_store = api_policy_activate, .has_body = true},

    {METHOD_POST, "/v1/policy/sync",       REPORTERS, .on_store = api_tero_sync, .has_body = true, .is_sync = true},
    {METHOD_GET,  "/api/v1/tero/policies", READERS, .on_store = api_tero_get},
    {METHOD_PUT,  "/api/v1/tero/policies", WRITERS, .on_store = api_tero_put, .has_body = true},
    {METHOD_GET,  "/api/v1/tero/statuses", READERS, .on_store = api_tero_statuses},

    {METHOD_GET,  "/api/v1/services",                               READERS, .on_store = services_list},
    {METHOD_POST, "/api/v1/services",                               WRITERS, .on_store = services_create, .has_body = true},
    {METHOD_GET,  "/api/v1/services/{service_id}",                  READERS, .on_store = services_get},
    {METHOD_GET,  "/api/v1/services/{service_name}/patterns",       READERS, .on_store = patterns_of_service},
    {METHOD_GET,  "/api/v1/services/{service_name}/cost-savings",   READERS, .on_store = savings_of_service},
    {METHOD_GET,  "/api/v1/services/{service_name}/sampling-stats", READERS, .on_store = patterns_sampling},

    {METHOD_GET,  "/api/v1/patterns",                 READERS, .on_store = patterns_list},
    {METHOD_GET,  "/api/v1/cost-savings",             READERS, .on_store = savings_of_team},
    {METHOD_GET,  "/api/v1/anomalies",                READERS, .on_store = analysis_anomalies},
    {METHOD_POST, "/api/v1/analysis/analyze",         READERS, .on_store = analysis_analyze, .has_body = true},
    {METHOD_POST, "/api/v1/pipeline/generate-policy", WRITERS, .on_store = analysis_generate, .has_body = true},

    {METHOD_GET,    "/api/v1/alerts",                        READERS, .on_store = alerts_list},
    {METHOD_POST,   "/api/v1/alerts/{alert_id}/acknowledge", WRITERS, .on_store = alerts_acknowledge},
    {METHOD_POST,   "/api/v1/alerts/{alert_id}/resolve",     WRITERS, .on_store = alerts_resolve},
    {METHOD_GET,    "/api/v1/webhooks",                      ROLE_ADMIN, .on_store = webhooks_list},
    {METHOD_POST,   "/api/v1/webhooks",                      ROLE_ADMIN, .on_store = webhooks_create, .has_body = true},
    {METHOD_DELETE, "/api/v1/webhooks/{webhook_id}",         ROLE_ADMIN, .on_store = webhooks_delete},

    {METHOD_GET,    "/api/v1/keys",                 ROLE_ADMIN, .on_store = keys_list},
    {METHOD_POST,   "/api/v1/keys",                 ROLE_ADMIN, .on_store = keys_create, .has_body = true},
    {METHOD_POST,   "/api/v1/keys/{key_id}/rotate", ROLE_ADMIN, .on_store = keys_rotate, .has_body = true},
    {METHOD_DELETE, "/api/v1/keys/{key_id}",        ROLE_ADMIN, .on_store = keys_end},
    {METHOD_GET,    "/api/v1/teams",                ROLE_ADMIN, .on_store = teams_list},
    {METHOD_POST,   "/api/v1/teams",                ROLE_ADMIN, .on_store = teams_create, .has_body = true},
    {METHOD_GET,    "/api/v1/audit",                ROLE_ADMIN, .on_store = audit_list},
    {.path = NULL},
};
/* clang-format on */
