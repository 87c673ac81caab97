/* signature_tool: the verb `signature` as a program of its own, for the scripts
 * that compare it with the specification's model. */
#include "cli/verbs.h"

int main(int argc, char **argv)
{
    return verb_signature(argc, argv);
}
