/* money: settings as terms. */
#include "config/money.h"

struct money_terms config_money(const struct config *cfg)
{
    return money_assumed(cfg->cost.free_gb, cfg->cost.per_gb, cfg->cost.kept_months,
                         cfg->cost.kept_per_gb);
}
