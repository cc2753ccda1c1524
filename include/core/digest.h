/* A running digest over a sequence of texts, to tell whether two passes saw the same sequence. */
#pragma once

enum { DIGEST_SIZE = 33 /* 32 hexadecimal digits and a terminator */ };

/* Replaces `digest` (at first an empty text) with the BLAKE2b-128 (RFC 7693) of itself and `text`.
 */
void digest_extend(char digest[DIGEST_SIZE], const char *text);
