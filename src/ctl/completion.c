#include <stdio.h>
#include <string.h>

#include "core/verdict.h"
#include "ctl/verbs.h"
#include "store/report.h"

/* The words of the tables are plain: no quoting is needed in what follows. */

static const char walk[] =
    "# bash completion of reconctl(1), made from its table of verbs\n"
    "\n"
    "_reconctl()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} group= verb= option= plain= word words i n=0\n"
    "\n"
    "    COMPREPLY=()\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ -n $option ]]; then # '=' is a word of its own\n"
    "            [[ $word == = ]] || option=\n"
    "        elif [[ $word == -- && -z $plain ]]; then\n"
    "            plain=yes\n"
    "        elif [[ $word == -* && -z $plain ]]; then\n"
    "            _reconctl_value \"$verb\" \"$word\" >/dev/null && option=$word\n"
    "        elif [[ -n $verb ]]; then\n"
    "            n=$((n + 1))\n"
    "        elif [[ -n $(_reconctl_verbs \"${group:+$group }$word\") ]]; then\n"
    "            group=${group:+$group }$word\n"
    "        elif _reconctl_options \"${group:+$group }$word\" >/dev/null; then\n"
    "            verb=${group:+$group }$word\n"
    "        else\n"
    "            return\n"
    "        fi\n"
    "    done\n"
    "    if [[ -n $option ]]; then\n"
    "        words=$(_reconctl_value \"$verb\" \"$option\")\n"
    "        cur=${cur#=}\n"
    "    elif [[ $cur == -* && -z $plain ]]; then\n"
    "        words=$(_reconctl_options \"$verb\")\n"
    "    elif [[ -z $verb ]]; then\n"
    "        words=$(_reconctl_verbs \"$group\")\n"
    "    else\n"
    "        words=$(_reconctl_argument \"$verb $n\")\n"
    "    fi\n"
    "    if [[ $words == FILE ]]; then\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "    else\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
    "    fi\n"
    "}\n"
    "complete -F _reconctl reconctl\n";

/* What may stand in the place of `value`, a word of the tables; FILE stays as it is. */
static void print_values(const char *value)
{
    if (strcmp(value, "FILE") == 0)
        fputs(value, stdout);
    else if (strchr(value, '|'))
        for (; *value; value++)
            putchar(*value == '|' ? ' ' : *value);
    else if (strcmp(value, "V") == 0)
        for (int i = 0; i < VERDICT_COUNT; i++)
            printf("%s ", verdict_name((enum verdict)i));
    else if (strcmp(value, "NAME") == 0)
        for (const char *const *name = report_names(); *name; name++)
            printf("%s ", *name);
}

/* `verb` NULL: of every verb. */
static void print_value_arms(const struct verb *verb, const struct verb_option *options)
{
    for (; options->name; options++) {
        if (!options->value)
            continue;
        if (verb)
            printf("    '%s --%s') echo '", verb->name, options->name);
        else
            printf("    *' --%s') echo '", options->name);
        print_values(options->value);
        puts("' ;;");
    }
}

static void begin(const char *function, const char *comment, const char *subject)
{
    printf("\n# %s\n%s()\n{\n    case %s in\n", comment, function, subject);
}

static void end(void)
{
    puts("    *) return 1 ;;\n    esac\n}");
}

static void print_value_function(void)
{
    begin("_reconctl_value", "VERB OPTION: the values of an option that takes one", "\"$1 $2\"");
    print_value_arms(NULL, common_options);
    for (const struct verb *verb = verbs; verb->name; verb++)
        print_value_arms(verb, verb->options);
    end();
}

static void print_options(const struct verb_option *options)
{
    for (; options->name; options++)
        printf("--%s ", options->name);
}

static void print_option_function(void)
{
    begin("_reconctl_options", "VERB or nothing: the options", "\"$1\"");
    fputs("    '') echo '", stdout);
    print_options(common_options);
    puts("--help --version' ;;");
    for (const struct verb *verb = verbs; verb->name; verb++) {
        printf("    '%s') echo '", verb->name);
        print_options(verb->options);
        print_options(common_options);
        puts("--help' ;;");
    }
    end();
}

static void print_argument_function(void)
{
    begin("_reconctl_argument", "VERB N: what argument N may be", "\"$1\"");
    for (const struct verb *verb = verbs; verb->name; verb++)
        for (size_t i = 0; i < VERB_MAX_ARGUMENTS && verb->arguments[i]; i++) {
            printf("    '%s %zu') echo '", verb->name, i);
            print_values(verb->arguments[i]);
            puts("' ;;");
        }
    end();
}

/* The first word of a verb, if the verbs before it do not begin with it too. */
static size_t first_word(const struct verb *verb)
{
    size_t n = strcspn(verb->name, " ");

    for (const struct verb *other = verbs; other < verb; other++)
        if (strncmp(other->name, verb->name, n + 1) == 0)
            return 0;
    return n;
}

static void print_verb_function(void)
{
    begin("_reconctl_verbs", "GROUP or nothing: the words that may come next", "\"$1\"");
    fputs("    '') echo '", stdout);
    for (const struct verb *verb = verbs; verb->name; verb++)
        printf("%.*s%s", (int)first_word(verb), verb->name, first_word(verb) ? " " : "");
    puts("' ;;");
    for (const struct verb *verb = verbs; verb->name; verb++) {
        size_t n = first_word(verb);

        if (n == 0 || verb->name[n] == '\0')
            continue;
        printf("    '%.*s') echo '", (int)n, verb->name);
        for (const struct verb *other = verb; other->name; other++)
            if (strncmp(other->name, verb->name, n + 1) == 0)
                printf("%s ", other->name + n + 1);
        puts("' ;;");
    }
    end();
}

void completion_print(void)
{
    fputs(walk, stdout);
    print_value_function();
    print_option_function();
    print_argument_function();
    print_verb_function();
}
