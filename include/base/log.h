/* Log to the journal with structured fields, or to standard error, one line an event.
 *
 * Standard error is used unless it is connected to the journal (JOURNAL_STREAM names it, see
 * sd_journal_stream(3) and systemd.exec(5)). Library rooms (base to remote) log nothing above
 * debug; the caller that handles an event logs it once. Never pass a secret or a response body. */
#pragma once

#include <stddef.h>
#include <syslog.h>

struct log_field {
    const char *name;  /* upper case, as the journal wants it: ORDER_ID */
    const char *value; /* NULL: the field is left out */
};

/* Decides between the journal and standard error; events below `priority` (LOG_DEBUG … LOG_CRIT)
 * are dropped. Before the first call everything above LOG_DEBUG goes to standard error. */
void log_open(int priority);

/* True while events go to standard error. */
int log_to_stderr(void);

/* Writes one event. `message_id` is the 32 hexadecimal digits of its kind, or NULL. */
void log_event(int priority, const char *message_id, const struct log_field *fields,
               size_t n_fields, const char *format, ...) __attribute__((format(printf, 5, 6)));

#define log_debug(...)   log_event(LOG_DEBUG, NULL, NULL, 0, __VA_ARGS__)
#define log_info(...)    log_event(LOG_INFO, NULL, NULL, 0, __VA_ARGS__)
#define log_notice(...)  log_event(LOG_NOTICE, NULL, NULL, 0, __VA_ARGS__)
#define log_warning(...) log_event(LOG_WARNING, NULL, NULL, 0, __VA_ARGS__)
#define log_error(...)   log_event(LOG_ERR, NULL, NULL, 0, __VA_ARGS__)
