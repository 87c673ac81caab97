/* main: see cli.c for the verbs and app.c for the sidecar. */
#include "cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
