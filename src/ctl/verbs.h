/* The verbs of reconctl, as a table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct ctl;

enum { VERB_MAX_OPTIONS = 12, VERB_MAX_ARGUMENTS = 3 };

struct verb_option {
    const char *name;  /* without the dashes */
    const char *value; /* what it takes, "DURATION"; NULL: nothing, it is there or not */
    bool required;
    const char *help;
};

struct verb {
    const char *name;                              /* one word or two */
    const char *arguments[VERB_MAX_ARGUMENTS + 1]; /* the first `required` ones must be given */
    size_t required;
    struct verb_option options[VERB_MAX_OPTIONS + 1];
    const char *summary;         /* one line */
    const char *help;            /* what a person needs to know to use it */
    const char *examples;        /* lines */
    int (*run)(struct ctl *ctl); /* an exit status */
};

/* Ended by an entry without a name. */
extern const struct verb verbs[];

/* What every verb accepts, before its name or behind it. Ended likewise. */
extern const struct verb_option common_options[];

/* The command line, taken apart. Texts are those of argv. */
struct args {
    const struct verb *verb;                   /* NULL: none was named, or only half of one */
    const char *group;                         /* the half */
    const char *arguments[VERB_MAX_ARGUMENTS]; /* NULL: not given */
    const char *options[VERB_MAX_OPTIONS];     /* likewise, by the verb's table */
    const char *common[VERB_MAX_OPTIONS];      /* likewise, by common_options */
    const char *completion; /* the shell to print a completion for: for the installation only */
    bool help, version;
};

/* -EINVAL with one line in `err`; `ret->verb` is then what was named so far. */
int args_parse(int argc, char **argv, struct args *ret, struct error *err);
/* The value of an option of the verb (its name, if it takes none), or a common one; NULL: not
 * given. */
const char *args_option(const struct args *args, const char *name);

/* "usage: reconctl wait ORDER [--timeout DURATION]", of the verb, or of the program for NULL. */
void verbs_print_usage(const struct verb *verb);
/* --help: of a verb, of the verbs that begin with the word `group`, or of the program. */
void verbs_print_help(const struct verb *verb, const char *group);

/* The verb table as a completion script for bash. */
void completion_print(void);

/* The families. */
int verb_enqueue(struct ctl *ctl);
int verb_claim(struct ctl *ctl);
int verb_session_add(struct ctl *ctl);
int verb_session_seen(struct ctl *ctl);
int verb_session_end(struct ctl *ctl);
int verb_verdict(struct ctl *ctl);
int verb_wait(struct ctl *ctl);
int verb_orders(struct ctl *ctl);
int verb_resolve(struct ctl *ctl);
int verb_permit(struct ctl *ctl);
int verb_explain(struct ctl *ctl);
int verb_report(struct ctl *ctl);
int verb_status(struct ctl *ctl);
int verb_doctor(struct ctl *ctl);
int verb_sync(struct ctl *ctl);
int verb_backup(struct ctl *ctl);
