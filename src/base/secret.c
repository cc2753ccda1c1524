#include "base/secret.h"

#include <sodium.h>
#include <string.h>

struct secret {
    size_t length;
    char text[];
};

struct secret *secret_new(const void *bytes, size_t n)
{
    struct secret *secret;

    if (sodium_init() < 0)
        return NULL;
    /* sodium_malloc() aligns the block's end to a guard page; a size that is a multiple of eight
     * keeps its start aligned for the length. */
    secret = sodium_malloc((sizeof(*secret) + n + 1 + 7) & ~(size_t)7);
    if (!secret)
        return NULL;
    secret->length = n;
    memcpy(secret->text, bytes, n);
    secret->text[n] = '\0';
    return secret;
}

const char *secret_text(const struct secret *secret)
{
    return secret->text;
}

size_t secret_length(const struct secret *secret)
{
    return secret->length;
}

struct secret *secret_free(struct secret *secret)
{
    if (secret)
        sodium_free(secret);
    return NULL;
}

void secret_wipe(void *memory, size_t n)
{
    sodium_memzero(memory, n);
}
