/*
 * check: what several settings say together: sizes that depend on each other, one budget, one
 * exporter that does not lead back here, and the rules of sampling that they amount to.
 */
#pragma once

#include "config/config.h"
#include "util/err.h"

/* When a budget was set under `key`: it is the only one, and possible. Checked at once, so that
 * the message has the place of the second one. */
MUST_CHECK int config_check_budget(const struct config *cfg, const char *key, struct error *err);

/* The key of the admin page: long enough, and one that a header can have. */
MUST_CHECK int config_check_admin_key(const struct config *cfg, const char *key, struct error *err);

/* The first key of the policy server, likewise. */
MUST_CHECK int config_check_first_key(const struct config *cfg, const char *key, struct error *err);

/* The personal API key: one that a header can have, and not the project's. */
MUST_CHECK int config_check_personal_key(const struct config *cfg, const char *key,
                                         struct error *err);

/* When everything is set. */
MUST_CHECK int config_check(const struct config *cfg, struct error *err);

/* Complete cfg->sampling.rules, which hold the pattern rates and the keep and drop rules. */
MUST_CHECK int config_build_rules(struct config *cfg, struct error *err);
