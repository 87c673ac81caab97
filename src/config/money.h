/* money: what is assumed that logs cost, from `cost`. */
#pragma once

#include "config/config.h"
#include "policy/money.h"

struct money_terms config_money(const struct config *cfg);
