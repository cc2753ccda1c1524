/* One INI file, read with libinih but strictly: every line of it is a section, an entry, a comment
 * or empty, fits libinih's line buffer, is UTF-8 without control characters, and is counted.
 *
 * A comment is a line that begins with ';' or '#', or what follows white space and ';' in a value.
 * White space before a line means nothing; there are no continuation lines. A byte order mark and
 * CR LF line ends are accepted. */
#pragma once

#include "base/error.h"

/* Called for each section line (`name` and `value` NULL) and each entry. Returns 0, or -errno with
 * the reason in `err`, to which the reader adds "file:line: ". `value` has no outer white space. */
typedef int (*inifile_handler)(const char *section, const char *name, const char *value, int line,
                               void *userdata, struct error *err);

/* The first failure in the order of lines ends the reading: what the handler returned, -EINVAL for
 * a line that is not understood, or what opening or reading the file failed with. */
int inifile_read(const char *path, inifile_handler handler, void *userdata, struct error *err);
