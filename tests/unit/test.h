/* test: cmocka, and nothing else that a unit test needs. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A row of a table failed: say which before the assertion stops the test. */
#define assert_row(cond, fmt, ...) \
    do { \
        if (!(cond)) { \
            print_error("row: " fmt "\n", __VA_ARGS__); \
            fail_msg("not true: %s", #cond); \
        } \
    } while (0)
