#include "core/digest.h"

#include <sodium.h>
#include <string.h>

void digest_extend(char digest[DIGEST_SIZE], const char *text)
{
    unsigned char out[(DIGEST_SIZE - 1) / 2];
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof(out));
    /* The terminators keep ("ab", "c") apart from ("a", "bc"). */
    crypto_generichash_update(&state, (const unsigned char *)digest, strlen(digest) + 1);
    crypto_generichash_update(&state, (const unsigned char *)text, strlen(text) + 1);
    crypto_generichash_final(&state, out, sizeof(out));
    sodium_bin2hex(digest, DIGEST_SIZE, out, sizeof(out));
}
