#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ctl/verbs.h"

static size_t count_options(const struct verb_option *options)
{
    size_t n = 0;

    while (options[n].name)
        n++;
    return n;
}

static void every_entry_is_complete(void **state)
{
    (void)state;
    for (const struct verb *verb = verbs; verb->name; verb++) {
        size_t n = 0;

        assert_non_null(verb->run);
        assert_true(verb->summary && *verb->summary && strlen(verb->summary) < 64);
        assert_true(verb->help && *verb->help);
        assert_non_null(verb->examples);
        assert_non_null(strstr(verb->examples, verb->name));
        assert_int_equal(verb->examples[strlen(verb->examples) - 1], '\n');
        while (verb->arguments[n])
            n++;
        assert_true(n <= VERB_MAX_ARGUMENTS && verb->required <= n);
        assert_true(count_options(verb->options) <= VERB_MAX_OPTIONS);
        for (const struct verb_option *option = verb->options; option->name; option++)
            assert_true((!option->value || *option->value) && option->help && *option->help);
    }
}

/* No name twice, none that a common option hides, and no verb that is the first word of another. */
static void names_are_unique(void **state)
{
    (void)state;
    for (const struct verb *verb = verbs; verb->name; verb++) {
        for (const struct verb *other = verb + 1; other->name; other++) {
            assert_string_not_equal(verb->name, other->name);
            assert_false(strncmp(other->name, verb->name, strlen(verb->name)) == 0 &&
                         other->name[strlen(verb->name)] == ' ');
        }
        for (size_t i = 0; verb->options[i].name; i++) {
            for (size_t j = i + 1; verb->options[j].name; j++)
                assert_string_not_equal(verb->options[i].name, verb->options[j].name);
            for (size_t j = 0; common_options[j].name; j++)
                assert_string_not_equal(verb->options[i].name, common_options[j].name);
        }
    }
}

static void every_verb_of_the_product_is_there(void **state)
{
    static const char *const names[] = {"enqueue",     "claim",   "session add", "session seen",
                                        "session end", "verdict", "wait",        "orders",
                                        "report",      "permit",  "resolve",     "explain",
                                        "status",      "sync",    "doctor",      "backup"};
    size_t n = 0;

    (void)state;
    for (const struct verb *verb = verbs; verb->name; verb++, n++) {
        size_t i = 0;

        while (i < ELEMENTSOF(names) && strcmp(names[i], verb->name) != 0)
            i++;
        assert_true(i < ELEMENTSOF(names));
    }
    assert_int_equal(n, ELEMENTSOF(names));
}

/* args_parse() of the words of `line`. */
static int parse(const char *line, struct args *args, struct error *err)
{
    static char words[512];
    char *argv[32], *rest = words;
    int argc = 0;

    snprintf(words, sizeof(words), "reconctl %s", line);
    while ((argv[argc] = strsep(&rest, " ")))
        argc++;
    return args_parse(argc, argv, args, err);
}

static void arguments_and_options_anywhere(void **state)
{
    struct args args;

    (void)state;
    assert_int_equal(parse("--format json enqueue --amount 49.00 A-1 --queue=q.db", &args, NULL),
                     0);
    assert_string_equal(args.verb->name, "enqueue");
    assert_string_equal(args.arguments[0], "A-1");
    assert_null(args.arguments[1]);
    assert_string_equal(args_option(&args, "amount"), "49.00");
    assert_string_equal(args_option(&args, "format"), "json");
    assert_string_equal(args_option(&args, "queue"), "q.db");
    assert_null(args_option(&args, "ledger"));
    assert_null(args_option(&args, "wait"));
    assert_null(args_option(&args, "no-such"));
}

static void verbs_of_two_words(void **state)
{
    struct args args;

    (void)state;
    assert_int_equal(parse("session --queue q end S1 paid", &args, NULL), 0);
    assert_string_equal(args.verb->name, "session end");
    assert_string_equal(args.arguments[0], "S1");
    assert_string_equal(args.arguments[1], "paid");
}

/* An order's id may look like an option, and a value like anything. */
static void words_that_look_like_options(void **state)
{
    struct args args;

    (void)state;
    assert_int_equal(parse("verdict -- --help", &args, NULL), 0);
    assert_string_equal(args.arguments[0], "--help");
    assert_false(args.help);
    assert_int_equal(parse("resolve A charged --note --transaction", &args, NULL), 0);
    assert_string_equal(args_option(&args, "note"), "--transaction");
    assert_null(args_option(&args, "transaction"));
    assert_int_equal(parse("verdict -", &args, NULL), 0);
    assert_string_equal(args.arguments[0], "-");
    assert_int_equal(parse("enqueue A --amount=1=2", &args, NULL), 0);
    assert_string_equal(args_option(&args, "amount"), "1=2");
}

static void help_needs_nothing_else(void **state)
{
    struct args args;

    (void)state;
    assert_int_equal(parse("--help", &args, NULL), 0);
    assert_true(args.help && !args.verb);
    assert_int_equal(parse("enqueue --help", &args, NULL), 0);
    assert_true(args.help);
    assert_string_equal(args.verb->name, "enqueue");
    assert_int_equal(parse("session -h", &args, NULL), 0);
    assert_string_equal(args.group, "session");
    assert_int_equal(parse("--version", &args, NULL), 0);
    assert_true(args.version);
}

static void flags_take_no_value(void **state)
{
    struct args args;
    struct error err;

    (void)state;
    assert_int_equal(parse("orders --revised --limit 3", &args, NULL), 0);
    assert_non_null(args_option(&args, "revised"));
    assert_string_equal(args_option(&args, "limit"), "3");
    assert_int_equal(parse("orders --limit 3", &args, NULL), 0);
    assert_null(args_option(&args, "revised"));
    assert_int_equal(parse("orders --revised", &args, NULL), 0); /* the last word, too */
    assert_non_null(args_option(&args, "revised"));
    assert_int_equal(parse("orders --revised=1", &args, &err), -EINVAL);
    assert_string_equal(err.text, "--revised takes no value");
    assert_int_equal(parse("orders --revised --revised", &args, &err), -EINVAL);
    assert_string_equal(err.text, "--revised is given twice");
    assert_int_equal(parse("orders --revised yes", &args, &err), -EINVAL);
    assert_string_equal(err.text, "yes: one argument too many");
}

static void refusals_say_what_is_wrong(void **state)
{
    static const struct {
        const char *line, *reason, *verb;
    } cases[] = {
        {"frobnicate", "frobnicate: no such verb", NULL},
        {"session", "session what?", NULL},
        {"session drop S1", "session drop: no such verb", NULL},
        {"--verdict charged orders", "--verdict: no such option here", NULL},
        {"orders --frob 1", "--frob: no such option", "orders"},
        {"orders --verdic charged", "--verdic: no such option", "orders"},
        {"orders --verdicts charged", "--verdicts: no such option", "orders"},
        {"orders -x", "-x: no such option", "orders"},
        {"orders extra", "extra: one argument too many", "orders"},
        {"orders --limit", "--limit: its value is missing", "orders"},
        {"orders --limit 1 --limit 2", "--limit is given twice", "orders"},
        {"verdict", "ORDER is missing", "verdict"},
        {"claim T1", "ORDER is missing", "claim"},
        {"enqueue A-1", "--amount A is missing", "enqueue"},
        {"--format", "--format: its value is missing", NULL},
    };
    struct error err;
    struct args args;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        assert_int_equal(parse(cases[i].line, &args, &err), -EINVAL);
        assert_int_equal(strncmp(err.text, cases[i].reason, strlen(cases[i].reason)), 0);
        if (cases[i].verb)
            assert_string_equal(args.verb->name, cases[i].verb);
        else
            assert_null(args.verb);
    }
    assert_int_equal(args_parse(1, (char *[]){(char *)"reconctl", NULL}, &args, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_is_complete),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(every_verb_of_the_product_is_there),
        cmocka_unit_test(arguments_and_options_anywhere),
        cmocka_unit_test(verbs_of_two_words),
        cmocka_unit_test(words_that_look_like_options),
        cmocka_unit_test(help_needs_nothing_else),
        cmocka_unit_test(flags_take_no_value),
        cmocka_unit_test(refusals_say_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
