/* reconciled: the daemon. See docs/reconciled.8. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "daemon/manager.h"
#include "daemon/probe.h"
#include "store/ledger.h"
#include "store/queue.h"

struct arguments {
    const char *config_path;
    bool config_given, check_config, once, create, probe, debug;
};

static void print_help(void)
{
    printf("Usage: reconciled [OPTION]...\n"
           "Settles card payments of unknown outcome by evidence: keeps a complete ledger of the\n"
           "merchant's transactions and gives each order in the queue its verdict.\n"
           "\n"
           "  --config FILE    configuration (default %s)\n"
           "  --check-config   say whether the configuration is good, and exit\n"
           "  --once           run one whole cycle and exit: take in the queue, fetch what is\n"
           "                   missing, decide, revoke the sessions that are due\n"
           "  --create         make the ledger and the queue if they are missing, and exit\n"
           "  --probe          ask the API one small question, say how it went, and exit\n"
           "  --debug          log more\n"
           "  --version, --help\n"
           "\n"
           "Without an option it runs in the foreground until SIGTERM or SIGINT. SIGHUP reloads\n"
           "the configuration, SIGUSR1 starts a cycle now. The keys come from systemd credentials\n"
           "(merchant_api_key, vault_api_key) or from MERCHANT_API_KEY and VAULT_API_KEY.\n"
           "\n"
           "Exit: 0 done, 74 a database failed, 75 the API could not be reached or kept failing,\n"
           "76 answers that cannot be understood, 77 the API refused the key, 78 configuration.\n",
           config_default_path());
}

/* 1: the caller exits with *ret_code. */
static int parse_arguments(int argc, char **argv, struct arguments *ret, int *ret_code)
{
    enum { CONFIG = 256, CHECK, ONCE, CREATE, PROBE, DEBUG, VERSION };
    static const struct option options[] = {
        {"config", required_argument, NULL, CONFIG},
        {"check-config", no_argument, NULL, CHECK},
        {"once", no_argument, NULL, ONCE},
        {"create", no_argument, NULL, CREATE},
        {"probe", no_argument, NULL, PROBE},
        {"debug", no_argument, NULL, DEBUG},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    *ret = (struct arguments){.config_path = config_default_path()};
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
        switch (option) {
        case CONFIG:
            ret->config_path = optarg;
            ret->config_given = true;
            break;
        case CHECK:
            ret->check_config = true;
            break;
        case ONCE:
            ret->once = true;
            break;
        case CREATE:
            ret->create = true;
            break;
        case PROBE:
            ret->probe = true;
            break;
        case DEBUG:
            ret->debug = true;
            break;
        case VERSION:
            printf("reconciled %s\n", RECONCILED_VERSION);
            *ret_code = EX_OK;
            return 1;
        case 'h':
            print_help();
            *ret_code = EX_OK;
            return 1;
        default:
            fprintf(stderr, "Try 'reconciled --help'.\n");
            *ret_code = 2;
            return 1;
        }
    if (optind < argc) {
        fprintf(stderr, "reconciled: unexpected argument '%s'\nTry 'reconciled --help'.\n",
                argv[optind]);
        *ret_code = 2;
        return 1;
    }
    return 0;
}

/* Keys are in this process's memory and environment: it leaves no core and cannot be traced. */
static void forbid_core(void)
{
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* the leak checker traces its own process */
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

static void block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int create_databases(const struct config *config)
{
    struct ledger *ledger = NULL;
    struct db *queue = NULL;
    struct error err = {0};
    char note[512];
    int r;

    r = ledger_open(config->ledger_path, &ledger, &err);
    if (r == 0)
        r = queue_open(config->queue_path, &queue, note, sizeof(note), &err);
    if (r < 0)
        log_error("%s", err.text);
    else if (*note)
        log_warning("%s", note);
    db_close(queue);
    ledger_close(ledger);
    return r < 0 ? EX_IOERR : EX_OK;
}

static int run(struct config *config, const struct arguments *arguments)
{
    const struct manager_options options = {
        .config_path = arguments->config_path,
        .config_must_exist = true,
        .once = arguments->once,
    };
    struct manager *manager;
    struct error err = {0};
    int code, r;

    /* Before any thread (curl's resolver) can be made, so that every thread inherits it. */
    block_signals();
    r = manager_new(config, &options, clock_real(), clock_boot(), &manager, &err);
    if (r < 0) {
        log_error("%s", err.text);
        return r == -EINVAL ? EX_CONFIG : EX_IOERR;
    }
    code = manager_run(manager);
    manager_free(manager);
    return code;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    enum config_scope scope;
    struct config *config;
    struct error err = {0};
    int code;

    if (parse_arguments(argc, argv, &arguments, &code))
        return code;
    log_open(arguments.debug ? LOG_DEBUG : LOG_INFO);
    forbid_core();
    /* Databases can be made before there is a key or an API. */
    scope = arguments.create ? CONFIG_PATHS : CONFIG_ALL;
    if (config_load(arguments.config_path, scope, true, &config, &err) < 0) {
        log_error("%s", err.text);
        return EX_CONFIG;
    }
    if (arguments.check_config) {
        printf("%s: ok\n", arguments.config_path);
        config_free(config);
        return EX_OK;
    }
    if (arguments.create || arguments.probe) {
        code = arguments.create ? create_databases(config) : probe(config, clock_real());
        config_free(config);
        return code;
    }
    return run(config, &arguments);
}
