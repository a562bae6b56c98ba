#include "runtime/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static EVP_MD *sha256;
static _Thread_local EVP_MD_CTX *context;

static void drop_context(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void set_up(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256 || pthread_key_create(&key, drop_context)) {
        fputs("lensmill: libcrypto offers no SHA-256\n", stderr);
        abort();
    }
}

void lm_hash_init(lm_hash *hash)
{
    if (!context) {
        pthread_once(&once, set_up);
        context = EVP_MD_CTX_new();
        if (!context) abort();
        pthread_setspecific(key, context);
        EVP_DigestInit_ex2(context, sha256, NULL);
    } else {
        EVP_DigestInit_ex2(context, NULL, NULL); /* the same digest again: no look-up */
    }
    hash->context = context;
}

void lm_hash_add(lm_hash *hash, const void *bytes, size_t n)
{
    EVP_DigestUpdate(hash->context, bytes, n);
}

void lm_hash_add_text(lm_hash *hash, const char *text)
{
    lm_hash_add(hash, text, strlen(text) + 1);
}

void lm_hash_add_u64(lm_hash *hash, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    lm_hash_add(hash, bytes, sizeof bytes);
}

lm_digest lm_hash_finish(lm_hash *hash)
{
    lm_digest digest;
    EVP_DigestFinal_ex(hash->context, digest.bytes, NULL);
    return digest;
}

lm_digest lm_digest_of(const void *bytes, size_t n)
{
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add(&hash, bytes, n);
    return lm_hash_finish(&hash);
}

_Bool lm_digest_is_zero(const lm_digest *digest)
{
    static const lm_digest zero;
    return lm_digest_equal(digest, &zero);
}

char *lm_digest_text(char buffer[65], const lm_digest *digest)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        buffer[2 * i] = hex[digest->bytes[i] >> 4];
        buffer[2 * i + 1] = hex[digest->bytes[i] & 15];
    }
    buffer[64] = 0;
    return buffer;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

_Bool lm_digest_parse(const char *text, lm_digest *ret)
{
    lm_digest digest;
    if (strlen(text) != 64) return 0;
    for (size_t i = 0; i < 32; i++) {
        int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);
        if (high < 0 || low < 0) return 0;
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret = digest;
    return 1;
}
