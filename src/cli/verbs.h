/*
 * verbs: each takes the words from its own name on, and returns the exit code (cli/command.h).
 */
#pragma once

int verb_run(int argc, char **argv);
int verb_healthcheck(int argc, char **argv);
int verb_reload(int argc, char **argv);
int verb_validate(int argc, char **argv);
int verb_print_config(int argc, char **argv);
int verb_settings(int argc, char **argv);
int verb_metrics(int argc, char **argv);
int verb_limits(int argc, char **argv);
int verb_top(int argc, char **argv);
int verb_tap(int argc, char **argv);
int verb_shadow(int argc, char **argv);
int verb_whatif(int argc, char **argv);
int verb_policy(int argc, char **argv);
int verb_demo(int argc, char **argv);
int verb_explain(int argc, char **argv);
int verb_redact(int argc, char **argv);
int verb_signature(int argc, char **argv);
int verb_replay(int argc, char **argv);
int verb_posthog(int argc, char **argv);
int verb_spool(int argc, char **argv);
int verb_server(int argc, char **argv);
int verb_version(int argc, char **argv);
