#include "core/email_hash.h"

#include <assert.h>
#include <limits.h>
#include <locale.h>
#include <sodium.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

enum { HASH_BYTES = 16 };

_Static_assert(EMAIL_HASH_SIZE == 2 * HASH_BYTES + 1, "two digits a byte and a terminator");
_Static_assert(EMAIL_KEY_SIZE >= crypto_generichash_KEYBYTES_MIN &&
                   EMAIL_KEY_SIZE <= crypto_generichash_KEYBYTES_MAX,
               "a key that BLAKE2b takes");
_Static_assert(HASH_BYTES >= crypto_generichash_BYTES_MIN, "a length that BLAKE2b gives");

static const char BLANK[] = " \t\r\n\v\f";

/* Hashes `n` bytes with the case folded. The current locale decides what a character is. */
static void hash_folded(crypto_generichash_state *state, const char *text, size_t n)
{
    const char *end = text + n;

    while (text < end) {
        char folded[MB_LEN_MAX];
        mbstate_t in = {0}, out = {0};
        wchar_t c;
        size_t taken = mbrtowc(&c, text, (size_t)(end - text), &in);
        size_t made = (size_t)-1;

        if (taken != (size_t)-1 && taken != (size_t)-2)
            made = wcrtomb(folded, (wchar_t)towlower((wint_t)c), &out);
        if (made == (size_t)-1) {
            taken = made = 1;
            folded[0] = *text;
        }
        crypto_generichash_update(state, (const unsigned char *)folded, made);
        text += taken;
    }
}

void email_hash(const struct secret *key, const char *address, char ret[EMAIL_HASH_SIZE])
{
    crypto_generichash_state state;
    unsigned char hash[HASH_BYTES];
    locale_t utf8, old;
    size_t n;

    assert(secret_length(key) == EMAIL_KEY_SIZE);
    address += strspn(address, BLANK);
    n = strlen(address);
    while (n > 0 && strchr(BLANK, address[n - 1]))
        n--;
    if (n == 0) {
        ret[0] = '\0';
        return;
    }

    /* The process's own locale must not decide which addresses are equal. Without this one (no
     * memory, no file) nothing is said of the address: a hash of the bytes as they are would
     * contradict an equal address. */
    utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!utf8) {
        ret[0] = '\0';
        return;
    }
    crypto_generichash_init(&state, (const unsigned char *)secret_text(key), EMAIL_KEY_SIZE,
                            sizeof(hash));
    old = uselocale(utf8);
    hash_folded(&state, address, n);
    uselocale(old);
    freelocale(utf8);
    crypto_generichash_final(&state, hash, sizeof(hash));
    sodium_bin2hex(ret, EMAIL_HASH_SIZE, hash, sizeof(hash));
    sodium_memzero(&state, sizeof(state));
}

struct secret *email_key_new(void)
{
    unsigned char bytes[EMAIL_KEY_SIZE];
    struct secret *key;

    if (sodium_init() < 0)
        return NULL;
    randombytes_buf(bytes, sizeof(bytes));
    key = secret_new(bytes, sizeof(bytes));
    sodium_memzero(bytes, sizeof(bytes));
    return key;
}
