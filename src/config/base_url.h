/* The base URL of an API: https://host[:port][/path], or http:// to this machine itself. */
#pragma once

/* 0 with a copy of `text` without trailing slashes; -ENOMEM; -EINVAL with a constant in
 * `*ret_reason` that says what is wrong and may be shown (`text` may not, if it holds '@', '?' or
 * '#': what people put there is secret). */
int base_url_parse(const char *text, char **ret, const char **ret_reason);
