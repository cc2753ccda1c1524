#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/text.h"

enum { MAX_FIELDS = 16, FIELD_SIZE = 640, TEXT_SIZE = 1024 };

static int max_priority = LOG_INFO;
static int to_journal;

/* systemd.exec(5): JOURNAL_STREAM holds "device:inode" of the stream standard error was given. */
static int stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
        return 0;
    return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_open(int priority)
{
    max_priority = priority;
    to_journal = stderr_is_journal();
}

int log_to_stderr(void)
{
    return !to_journal;
}

static const char *priority_name(int priority)
{
    switch (priority) {
    case LOG_EMERG:
    case LOG_ALERT:
    case LOG_CRIT:
        return "critical";
    case LOG_ERR:
        return "error";
    case LOG_WARNING:
        return "warning";
    case LOG_NOTICE:
        return "notice";
    case LOG_DEBUG:
        return "debug";
    default:
        return "info";
    }
}

static void send_to_journal(int priority, const char *message_id, const struct log_field *fields,
                            size_t n_fields, const char *text)
{
    char buffer[MAX_FIELDS][FIELD_SIZE];
    char message[TEXT_SIZE + sizeof("MESSAGE=")];
    struct iovec iov[MAX_FIELDS + 1];
    int n = 0;

    snprintf(message, sizeof(message), "MESSAGE=%s", text);
    iov[n++] = (struct iovec){message, strlen(message)};
    snprintf(buffer[n], FIELD_SIZE, "PRIORITY=%d", priority);
    iov[n] = (struct iovec){buffer[n], strlen(buffer[n])};
    n++;
    if (message_id) {
        snprintf(buffer[n], FIELD_SIZE, "MESSAGE_ID=%s", message_id);
        iov[n] = (struct iovec){buffer[n], strlen(buffer[n])};
        n++;
    }
    for (size_t i = 0; i < n_fields && n < MAX_FIELDS; i++) {
        if (!fields[i].value)
            continue;
        snprintf(buffer[n], FIELD_SIZE, "%s=%s", fields[i].name, fields[i].value);
        iov[n] = (struct iovec){buffer[n], strlen(buffer[n])};
        n++;
    }
    sd_journal_sendv(iov, n);
}

void log_event(int priority, const char *message_id, const struct log_field *fields,
               size_t n_fields, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list args;

    if (priority > max_priority)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    text_make_one_line(text, sizeof(text));
    if (to_journal)
        send_to_journal(priority, message_id, fields, n_fields, text);
    else
        fprintf(stderr, "%s: %s\n", priority_name(priority), text);
}
