#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/verbs.h"

/* The words that are no options: a verb's name, then its arguments. */
struct parser {
    struct args *args;
    struct error *err;
};

/* Not for people, and in no help. */
static const struct verb_option hidden_options[] = {
    {"completion", "bash", false, "print the completion script of a shell"},
    {0},
};

static int find_option(const struct verb_option *options, const char *name, size_t length)
{
    for (int i = 0; options[i].name; i++)
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0)
            return i;
    return -1;
}

static const struct verb *find_verb(const char *group, const char *word)
{
    for (const struct verb *verb = verbs; verb->name; verb++) {
        const char *rest = verb->name;

        if (group) {
            size_t n = strlen(group);

            if (strncmp(rest, group, n) != 0 || rest[n] != ' ')
                continue;
            rest += n + 1;
        }
        if (strcmp(rest, word) == 0)
            return verb;
    }
    return NULL;
}

static bool is_group(const char *word)
{
    size_t n = strlen(word);

    for (const struct verb *verb = verbs; verb->name; verb++)
        if (strncmp(verb->name, word, n) == 0 && verb->name[n] == ' ')
            return true;
    return false;
}

/* "add, seen or end". */
static const char *names_of_group(const char *group, char *buffer, size_t size)
{
    size_t n = 0, length = strlen(group);

    *buffer = '\0';
    for (const struct verb *verb = verbs; verb->name; verb++)
        if (strncmp(verb->name, group, length) == 0 && verb->name[length] == ' ' && n < size)
            n += (size_t)snprintf(buffer + n, size - n, "%s%s", n ? ", " : "",
                                  verb->name + length + 1);
    return buffer;
}

static int take_word(struct parser *p, const char *word)
{
    struct args *args = p->args;
    char names[64];

    if (args->verb) {
        for (size_t i = 0; i < VERB_MAX_ARGUMENTS && args->verb->arguments[i]; i++)
            if (!args->arguments[i]) {
                args->arguments[i] = word;
                return 0;
            }
        return error_set(p->err, -EINVAL, "%s: one argument too many", word);
    }
    args->verb = find_verb(args->group, word);
    if (args->verb)
        return 0;
    if (args->group)
        return error_set(p->err, -EINVAL, "%s %s: no such verb; there is %s", args->group, word,
                         names_of_group(args->group, names, sizeof(names)));
    if (is_group(word)) {
        args->group = word;
        return 0;
    }
    return error_set(p->err, -EINVAL, "%s: no such verb; 'reconctl --help' lists them", word);
}

/* `option` is behind the dashes; `next` is the word that follows it. 1: the next word was its
 * value. */
static int take_option(struct parser *p, const char *option, const char *next)
{
    size_t length = strcspn(option, "=");
    const char *value = option[length] ? option + length + 1 : next;
    struct args *args = p->args;
    const struct verb_option *found;
    const char **place;
    int i;

    if (strcmp(option, "help") == 0) {
        args->help = true;
        return 0;
    }
    if (strcmp(option, "version") == 0) {
        args->version = true;
        return 0;
    }
    if ((i = find_option(common_options, option, length)) >= 0) {
        found = &common_options[i];
        place = &args->common[i];
    } else if (args->verb && (i = find_option(args->verb->options, option, length)) >= 0) {
        found = &args->verb->options[i];
        place = &args->options[i];
    } else if (find_option(hidden_options, option, length) >= 0) {
        found = hidden_options;
        place = &args->completion;
    } else {
        return error_set(p->err, -EINVAL,
                         args->verb ? "--%.*s: no such option"
                                    : "--%.*s: no such option here; a verb's own options come "
                                      "behind the verb",
                         (int)length, option);
    }
    if (!found->value && option[length])
        return error_set(p->err, -EINVAL, "--%.*s takes no value", (int)length, option);
    if (!found->value)
        value = found->name;
    if (!value)
        return error_set(p->err, -EINVAL, "--%.*s: its value is missing", (int)length, option);
    if (*place)
        return error_set(p->err, -EINVAL, "--%.*s is given twice", (int)length, option);
    *place = value;
    return found->value && !option[length];
}

/* Only what a verb cannot do without; a call for help needs nothing. */
static int check_complete(struct parser *p)
{
    const struct args *args = p->args;
    char names[64];

    if (args->help || args->version || args->completion)
        return 0;
    if (!args->verb && args->group)
        return error_set(p->err, -EINVAL, "%s what? There is %s", args->group,
                         names_of_group(args->group, names, sizeof(names)));
    if (!args->verb)
        return error_set(p->err, -EINVAL, "a verb is missing; 'reconctl --help' lists them");
    for (size_t i = 0; i < args->verb->required; i++)
        if (!args->arguments[i])
            return error_set(p->err, -EINVAL, "%s is missing", args->verb->arguments[i]);
    for (size_t i = 0; args->verb->options[i].name; i++)
        if (args->verb->options[i].required && !args->options[i])
            return error_set(p->err, -EINVAL, "--%s %s is missing", args->verb->options[i].name,
                             args->verb->options[i].value);
    return 0;
}

int args_parse(int argc, char **argv, struct args *ret, struct error *err)
{
    struct parser p = {ret, err};
    bool only_words = false;
    int r;

    *ret = (struct args){0};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];

        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
            continue;
        }
        if (only_words || word[0] != '-' || word[1] == '\0')
            r = take_word(&p, word);
        else if (strcmp(word, "-h") == 0)
            r = take_option(&p, "help", NULL);
        else if (word[1] == '-')
            r = take_option(&p, word + 2, argv[i + 1]);
        else
            r = error_set(err, -EINVAL, "%s: no such option", word);
        if (r < 0)
            return r;
        i += r;
    }
    return check_complete(&p);
}

const char *args_option(const struct args *args, const char *name)
{
    int i = find_option(common_options, name, strlen(name));

    if (i >= 0)
        return args->common[i];
    i = args->verb ? find_option(args->verb->options, name, strlen(name)) : -1;
    return i >= 0 ? args->options[i] : NULL;
}
