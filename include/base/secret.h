/* A secret (an API key, a session key) in memory that is locked against swapping, left out of core
 * dumps and wiped when freed (libsodium's secure memory). */
#pragma once

#include <stddef.h>

struct secret;

/* Copies `n` bytes, adding a terminator. NULL when memory cannot be had. */
struct secret *secret_new(const void *bytes, size_t n);

/* The bytes, NUL-terminated; valid until secret_free(). Never log, print or store them. */
const char *secret_text(const struct secret *secret);
size_t secret_length(const struct secret *secret);

/* Wipes and frees; NULL is accepted and returned. */
struct secret *secret_free(struct secret *secret);

/* Overwrites memory that held a secret, in a way the compiler does not remove. */
void secret_wipe(void *memory, size_t n);
