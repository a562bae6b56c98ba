/* Philox streams, and uniform, normal and bounded integers from them. */
#include "runtime/random.h"

#include <Random123/philox.h>

static uint64_t little_endian(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (unsigned i = 8; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

lm_random lm_random_stream(const lm_digest *key, uint64_t stream)
{
    uint64_t k0 = little_endian(key->bytes);
    uint64_t high =
        stream ^ little_endian(key->bytes + 8) ^ little_endian(key->bytes + 16) ^ little_endian(key->bytes + 24);
    lm_random random = {0};
    random.key[0] = (uint32_t)k0;
    random.key[1] = (uint32_t)(k0 >> 32);
    random.counter[2] = (uint32_t)high;
    random.counter[3] = (uint32_t)(high >> 32);
    return random;
}

uint32_t lm_random_word(lm_random *random)
{
    if (random->left == 0) {
        uint32_t *c = random->counter;
        philox4x32_ctr_t block = {{c[0], c[1], c[2], c[3]}};
        philox4x32_key_t key = {{random->key[0], random->key[1]}};
        block = philox4x32(block, key);
        for (unsigned i = 0; i < 4; i++) random->word[i] = block.v[i];
        if (++c[0] == 0) ++c[1]; /* the block index is 64 bits; the stream's bits above it never change */
        random->left = 4;
    }
    return random->word[4 - random->left--];
}

uint64_t lm_random_bits(lm_random *random)
{
    uint64_t low = lm_random_word(random);
    return (uint64_t)lm_random_word(random) << 32 | low;
}

double lm_random_uniform(lm_random *random)
{
    return (double)(lm_random_bits(random) >> 11) * 0x1p-53;
}

/* Unbiased by rejection (Lemire 2019): the high word of bits * n is uniform once the low words below 2^64 mod n are thrown
 * away. */
uint64_t lm_random_below(lm_random *random, uint64_t n)
{
    if (n == 0) return 0;
    unsigned __int128 product = (unsigned __int128)lm_random_bits(random) * n;
    if ((uint64_t)product < n) {
        uint64_t excess = (0 - n) % n; /* 2^64 mod n */
        while ((uint64_t)product < excess) product = (unsigned __int128)lm_random_bits(random) * n;
    }
    return (uint64_t)(product >> 64);
}

/* Natural logarithm for 0 < x < 1 to a few 1e-16 relative, by correctly rounded operations only: x = m 2^e with
 * 1/sqrt 2 <= m < sqrt 2, and log m = 2 artanh s = 2 (s + s^3/3 + s^5/5 + ...) with s = (m - 1)/(m + 1), |s| < 0.172. */
static double plain_log(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int k = 21; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k; /* the next term is below 2e-18 of the sum */
    return 2 * s * sum + e * 0.69314718055994531;
}

/* Marsaglia's polar method: two normals from a point in the unit disc. */
double lm_random_normal(lm_random *random)
{
    if (random->has_normal) {
        random->has_normal = false;
        return random->normal;
    }
    double x, y, r2;
    do {
        x = 2 * lm_random_uniform(random) - 1;
        y = 2 * lm_random_uniform(random) - 1;
        r2 = x * x + y * y;
    } while (r2 >= 1 || r2 == 0);
    double scale = sqrt(-2 * plain_log(r2) / r2);
    random->normal = y * scale;
    random->has_normal = true;
    return x * scale;
}
