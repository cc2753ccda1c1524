#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

static int choose_format(struct ctl *ctl)
{
    static const struct {
        const char *name;
        enum writer_format format;
    } formats[] = {{"table", WRITER_TABLE}, {"csv", WRITER_CSV}, {"json", WRITER_JSON}};
    const char *name = ctl_option(ctl, "format");

    for (size_t i = 0; i < ELEMENTSOF(formats); i++)
        if (!name || strcmp(name, formats[i].name) == 0) {
            ctl->format = formats[i].format;
            return CTL_DONE;
        }
    return ctl_usage(ctl, "--format %s: table, csv or json", name);
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.clock = clock_real()};
    struct error err;
    int status;

    if (args_parse(argc, argv, &ctl.args, &err) < 0) {
        ctl_fail(CTL_USAGE, &err);
        verbs_print_usage(ctl.args.verb);
        return CTL_USAGE;
    }
    if (ctl.args.help) {
        verbs_print_help(ctl.args.verb, ctl.args.group);
        return CTL_DONE;
    }
    if (ctl.args.completion) {
        if (strcmp(ctl.args.completion, "bash") != 0)
            return ctl_say(CTL_USAGE, "--completion %s: bash is known", ctl.args.completion);
        completion_print();
        return CTL_DONE;
    }
    if (ctl.args.version) {
        puts("reconctl " RECONCILED_VERSION);
        return CTL_DONE;
    }
    status = choose_format(&ctl);
    if (status == CTL_DONE)
        status = ctl.args.verb->run(&ctl);
    config_free(ctl.config);
    return status;
}
