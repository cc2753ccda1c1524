#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

int error_set(struct error *err, int code, const char *format, ...)
{
    va_list args;

    if (!err)
        return code;
    err->code = code;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    text_make_one_line(err->text, sizeof(err->text));
    return code;
}

int error_prefix(struct error *err, int code, const char *format, ...)
{
    char prefix[sizeof(err->text) / 2];
    size_t n, kept;
    va_list args;

    if (!err)
        return code;
    err->code = code;
    va_start(args, format);
    vsnprintf(prefix, sizeof(prefix) - strlen(": "), format, args);
    va_end(args);
    text_make_one_line(prefix, sizeof(prefix) - strlen(": "));
    n = strlen(prefix);
    memcpy(prefix + n, ": ", sizeof(": "));
    n += strlen(": ");
    /* The prefix says where, so it may cost the end of an overlong text. */
    kept = strnlen(err->text, sizeof(err->text) - 1 - n);
    memmove(err->text + n, err->text, kept);
    memcpy(err->text, prefix, n);
    err->text[n + kept] = '\0';
    text_make_one_line(err->text, sizeof(err->text));
    return code;
}
