/* command: options by getopt, the configuration, exit codes. */
#include "cli/command.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "policy/file.h"

int command_usage_error(const char *text, const char *what)
{
    fprintf(stderr,
            "lipservice: %s%s\n`lipservice --help` lists the commands, `lipservice settings` the "
            "settings\n",
            text, what);
    return EXIT_USAGE;
}

static int exit_code(int rc)
{
    switch (rc) {
    case ERR_CONFIG:
        return EXIT_CONFIG;
    case ERR_UNAVAILABLE:
        return EXIT_UNAVAILABLE;
    case ERR_IO: /* a file that is named and cannot be read or written */
        return EXIT_USAGE;
    default:
        return EXIT_BUG;
    }
}

int command_die(int rc, const struct error *err)
{
    fprintf(stderr, "lipservice: %s\n", err->text[0] != '\0' ? err->text : err_text(rc));
    return exit_code(rc);
}

#define OWN_FLAGS 0x100 /* what getopt_long() returns for a verb's own, from here */

int command_parse(int argc, char **argv, const struct command_flag *flags, size_t flag_count,
                  struct command_options *o, int *first)
{
    struct option longs[COMMAND_FLAGS_MAX + 3] = {
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 's'},
    };
    for (size_t i = 0; i < flag_count; i++)
        longs[i + 2] =
            (struct option){flags[i].name, flags[i].value != NULL ? required_argument : no_argument,
                            NULL, OWN_FLAGS + (int)i};
    *o = (struct command_options){.input = {.env = environ}};
    o->input.sets = o->sets;
    optind = 1;
    opterr = 0;
    int c;
    while ((c = getopt_long(argc, argv, first == NULL ? "+:c:" : ":c:", longs, NULL)) != -1) {
        if (c == 'c') {
            o->input.file = optarg;
        } else if (c == 's' && o->input.set_count < COMMAND_SETS_MAX) {
            o->sets[o->input.set_count++] = optarg;
        } else if (c >= OWN_FLAGS && flags[c - OWN_FLAGS].value != NULL) {
            *flags[c - OWN_FLAGS].value = optarg;
        } else if (c >= OWN_FLAGS) {
            *flags[c - OWN_FLAGS].given = true;
        } else {
            return command_usage_error(c == ':' ? "a value is missing after " : "unknown option ",
                                       argv[optind - 1]);
        }
    }
    if (first != NULL)
        *first = optind;
    return first == NULL && optind < argc
               ? command_usage_error("unexpected argument ", argv[optind])
               : 0;
}

int command_load_options(const struct command_options *o, struct config *cfg)
{
    struct error err = {{0}};
    int rc = config_load(cfg, &o->input, &err);
    return rc < 0 ? command_die(rc, &err) : 0;
}

int command_load(int argc, char **argv, const struct command_flag *flags, size_t flag_count,
                 struct config *cfg, int *first)
{
    struct command_options o;
    int code = command_parse(argc, argv, flags, flag_count, &o, first);
    return code != 0 ? code : command_load_options(&o, cfg);
}

int command_rules(struct rules **out, const struct config *cfg, const char *policy_file)
{
    struct policy_notes notes;
    struct error err = {{0}};
    if (policy_file[0] == '\0') {
        *out = rules_ref(cfg->sampling.rules);
        return 0;
    }
    int rc =
        policy_file_load(out, policy_file, config_visit_yaml, cfg->sampling.rules, &notes, &err);
    return rc < 0 ? command_die(rc, &err) : 0;
}
