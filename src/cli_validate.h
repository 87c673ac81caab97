/*
 * cli_validate: `lipservice validate`: the configuration, the addresses, certificates and
 * policy files that it names; all that a start refuses, but for ports that are taken.
 */
#pragma once

int cli_validate(int argc, char **argv);
