/* signature_tool: the verb `signature` as a program of its own, for the scripts
 * that compare it with the specification's model. */
#include "cli_signature.h"

int main(int argc, char **argv)
{
    return cli_signature(argc, argv);
}
