/*
 * whatif: what asking "what would the last hour have cost" takes, of 16,384 patterns.
 *
 *   build/bench/micro_whatif
 *
 * Milliseconds of one question, the best of some: rates alone, and with a budget on both sides.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "policy/whatif.h"
#include "util/rng.h"

#define PATTERNS 16384
#define ROUNDS 20

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static struct rules *make_rules(double info, uint32_t named)
{
    struct rules *r;
    struct rng rng = {.state = 3};
    if (rules_new(&r) < 0 || rules_set_level(r, LEVEL_INFO, info, NULL) < 0 ||
        rules_set_global(r, 0.5, NULL) < 0 || rules_set_first(r, 5, 60000, NULL) < 0)
        exit(1);
    for (uint32_t i = 0; i < named; i++)
        if (rules_set_pattern(r, rng_next(&rng), 0.01, NULL) < 0)
            exit(1);
    return r;
}

static void measure(const char *name, struct whatif_pattern *list, const struct governor_target *t)
{
    double best = HUGE_VAL;
    struct whatif w = {0};
    struct arena arena;
    arena_init(&arena, 64 << 20, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        double began = now_ms();
        if (whatif_of(&w, list, PATTERNS, &arena, 3600, t, t) < 0)
            exit(1);
        best = fmin(best, now_ms() - began);
        arena_reset(&arena);
    }
    arena_done(&arena);
    printf("%-12s %6.2f ms  (%.3g records then)\n", name, best, w.then.records);
}

int main(void)
{
    static struct whatif_pattern list[PATTERNS];
    static struct standing_facts facts[PATTERNS];
    struct rules *now = make_rules(0.2, 1000), *then = make_rules(0.1, RULES_PATTERNS_MAX);
    struct rng rng = {.state = 3};
    for (size_t i = 0; i < PATTERNS; i++) {
        uint64_t id = rng_next(&rng);
        double records = 1e6 / (double)(i + 1);
        facts[i] = (struct standing_facts){
            .signature = id, .family = id, .level = (enum level)(i % 4), .factor = 1};
        list[i] = (struct whatif_pattern){
            .facts = &facts[i],
            .now = now,
            .then = then,
            .records = records,
            .bytes = records * 300,
            .busy_s = 3600,
        };
    }
    const struct governor_target none = {.unit = GOVERNOR_NONE};
    const struct governor_target budget = {GOVERNOR_BYTES, 10000, 0.75};
    measure("rates", list, &none);
    measure("a budget", list, &budget);
    rules_unref(now);
    rules_unref(then);
    return 0;
}
