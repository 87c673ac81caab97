/* policy_conformance: Tero's policies held against a log request in a file. */
#pragma once

struct conformance {
    const char *policies, *input; /* files to read */
    const char *output, *stats;   /* files to write */
};

/* Read, evaluate, write. The exit code; what is wrong is printed on standard error. */
int policy_conformance(const struct conformance *files);
