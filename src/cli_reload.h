/*
 * cli_reload: `lipservice reload`: SIGHUP for where there is no shell and no kill(1), with an answer.
 */
#pragma once

int cli_reload(int argc, char **argv);
