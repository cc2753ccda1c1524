/* The e-mail address as a keyed hash: equal addresses compare equal, and the ledger's readers
 * cannot find the address out, not even by trying every customer, without the key. */
#pragma once

#include "base/secret.h"

enum { EMAIL_KEY_SIZE = 32, EMAIL_HASH_SIZE = 33 /* 32 hexadecimal digits and a terminator */ };

/* BLAKE2b-128 keyed (RFC 7693) of the address with its case folded (simple case mapping of
 * Unicode; bytes that are not UTF-8 are taken as they are) and outer white space removed.
 * An empty address gives an empty hash, and so does any address when memory or the C library's
 * C.UTF-8 locale cannot be had. */
void email_hash(const struct secret *key, const char *address, char ret[EMAIL_HASH_SIZE]);

/* A new random key. NULL when memory cannot be had. */
struct secret *email_key_new(void);
