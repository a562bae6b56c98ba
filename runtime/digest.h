/* SHA-256 digests, through OpenSSL's libcrypto: the name of everything that is stored. */
#ifndef LM_RUNTIME_DIGEST_H
#define LM_RUNTIME_DIGEST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct lm_digest {
    uint8_t bytes[32];
} lm_digest;

/* A hash in progress. Each thread reuses its own context; init and finish in one thread, and do not nest. */
typedef struct lm_hash {
    void *context;
} lm_hash;

void lm_hash_init(lm_hash *hash);
void lm_hash_add(lm_hash *hash, const void *bytes, size_t n);
void lm_hash_add_text(lm_hash *hash,
                      const char *text);             /* with its terminating zero, so that fields cannot run together */
void lm_hash_add_u64(lm_hash *hash, uint64_t value); /* little-endian */
lm_digest lm_hash_finish(lm_hash *hash);
lm_digest lm_digest_of(const void *bytes, size_t n);

static inline _Bool lm_digest_equal(const lm_digest *a, const lm_digest *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}
_Bool lm_digest_is_zero(const lm_digest *digest);
/* 64 hexadecimal digits and a zero. Returns buffer. */
char *lm_digest_text(char buffer[65], const lm_digest *digest);
/* Reads 64 hexadecimal digits. */
_Bool lm_digest_parse(const char *text, lm_digest *ret);

#endif
