/* rulebook: references, and copies bound to families. */
#include "pipeline/rulebook.h"

#include <stdlib.h>

int rulebook_init(struct rulebook *b, const struct rules *common, uint32_t max_services,
                  struct families *families)
{
    *b = (struct rulebook){.families = families, .max_services = max_services};
    b->of_service = calloc(max_services, sizeof *b->of_service);
    if (b->of_service == NULL)
        return ERR_NOMEM;
    b->common.given = rules_ref(common);
    return 0;
}

static void replace(struct in_force *f, const struct rules *rules)
{
    struct in_force old = *f;
    *f = (struct in_force){.given = rules == NULL ? NULL : rules_ref(rules)};
    rules_unref(old.given);
    rules_unref(old.bound);
}

void rulebook_done(struct rulebook *b)
{
    for (uint32_t i = 0; b->of_service != NULL && i < b->max_services; i++)
        replace(&b->of_service[i], NULL);
    replace(&b->common, NULL);
    replace(&b->second, NULL);
    free(b->of_service);
    b->of_service = NULL;
}

void rulebook_set_common(struct rulebook *b, const struct rules *rules)
{
    replace(&b->common, rules);
}

void rulebook_set_service(struct rulebook *b, uint32_t service, const struct rules *rules)
{
    replace(&b->of_service[service], rules);
}

void rulebook_set_second(struct rulebook *b, const struct rules *rules)
{
    replace(&b->second, rules);
}

static uint64_t resolve(void *families, uint64_t signature)
{
    return families == NULL ? signature : families_resolve(families, signature);
}

/* When there is no memory to bind them anew, as before. */
static const struct rules *bind(struct rulebook *b, struct in_force *f, uint64_t now_ms)
{
    if (b->families == NULL || f->given == NULL || !rules_name_patterns(f->given))
        return f->given;
    const struct rules *now = f->bound != NULL ? f->bound : f->given;
    bool is_due = f->bound == NULL || now_ms - f->bound_ms >= RULEBOOK_BIND_MS;
    uint32_t generation = families_generation(b->families);
    struct rules *bound;
    if (f->generation == generation || !is_due || rules_bind(&bound, now, resolve, b->families) < 0)
        return now;
    rules_unref(f->bound);
    *f = (struct in_force){f->given, bound, generation, now_ms};
    return bound;
}

const struct rules *rulebook_of(struct rulebook *b, uint32_t service, uint64_t now_ms)
{
    struct in_force *own = &b->of_service[service];
    return bind(b, own->given != NULL ? own : &b->common, now_ms);
}

const struct rules *rulebook_second(struct rulebook *b, uint64_t now_ms)
{
    return bind(b, &b->second, now_ms);
}

int rulebook_bind(const struct rulebook *b, const struct rules *rules, struct rules **out)
{
    return rules_bind(out, rules, resolve, b->families);
}

const struct rules *rulebook_given(const struct rulebook *b, uint32_t service)
{
    const struct rules *own = b->of_service[service].given;
    return own != NULL ? own : b->common.given;
}
