/* A secret that somebody hands to the process: systemd's credentials, or the environment. */
#pragma once

#include "base/error.h"
#include "base/secret.h"

enum { CREDENTIAL_MAX = 4096 };

enum credential_outcome { CREDENTIAL_ABSENT = 1 };

/* The file `name` in $CREDENTIALS_DIRECTORY, else the environment's `variable`; without line ends
 * behind it. 0; CREDENTIAL_ABSENT with neither; -EINVAL for one that is empty, longer than
 * CREDENTIAL_MAX bytes or has white space, control or other than ASCII characters in it; -ENOMEM;
 * what opening or reading the file failed with. `err` names the source, never the value.
 *
 * The variable stays in the environment: a configuration that is loaded again needs it again. */
int credential_read(const char *name, const char *variable, struct secret **ret, struct error *err);
/* The same of the file at `path` alone. */
int credential_read_file(const char *path, struct secret **ret, struct error *err);
