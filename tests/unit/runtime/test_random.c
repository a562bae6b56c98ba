/* Philox streams: published vectors, moments, distribution, independence of streams. */
#include "tests/test.h"

#include "runtime/random.h"

static lm_digest key_of(const char *text)
{
    return lm_digest_of(text, strlen(text));
}

/* Philox 4x32-10 vectors published with Random123 (kat_vectors). */
TEST(random_meets_published_vectors)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lm_random random = {0};
        memcpy(random.counter, cases[i].counter, sizeof random.counter);
        memcpy(random.key, cases[i].key, sizeof random.key);
        for (size_t k = 0; k < 4; k++) EQUAL_INT(lm_random_word(&random), cases[i].want[k]);
    }
}

/* The layout that random.h promises, and the carry between the two words of the block index. */
TEST(random_stream_layout)
{
    lm_digest key;
    for (unsigned i = 0; i < 32; i++) key.bytes[i] = (uint8_t)(i * 7 + 1);
    lm_random a = lm_random_stream(&key, 5), b = lm_random_stream(&key, 6);
    uint64_t word[4];
    memcpy(word, key.bytes, sizeof word); /* tests run on little-endian machines, as the store does */
    EQUAL_INT(a.key[0], (uint32_t)word[0]);
    EQUAL_INT(a.key[1], (uint32_t)(word[0] >> 32));
    uint64_t high = 5 ^ word[1] ^ word[2] ^ word[3];
    EQUAL_INT(a.counter[2], (uint32_t)high);
    EQUAL_INT(a.counter[3], (uint32_t)(high >> 32));
    EQUAL_INT(a.counter[0], 0);
    EQUAL_INT(a.counter[1], 0);
    CHECK(a.counter[2] != b.counter[2]);

    a.counter[0] = 0xffffffff;
    uint32_t c3 = a.counter[3];
    (void)lm_random_word(&a);
    EQUAL_INT(a.counter[0], 0);
    EQUAL_INT(a.counter[1], 1);
    EQUAL_INT(a.counter[3], c3);

    for (unsigned byte = 0; byte < 32; byte++) { /* every byte of the key matters */
        lm_digest other = key;
        other.bytes[byte] ^= 0x10;
        lm_random c = lm_random_stream(&key, 5), d = lm_random_stream(&other, 5);
        CHECK(lm_random_bits(&c) != lm_random_bits(&d));
    }
}

TEST(random_repeats_and_copies)
{
    lm_digest key = key_of("repeat");
    lm_random a = lm_random_stream(&key, 3);
    for (int i = 0; i < 7; i++) (void)lm_random_normal(&a);
    lm_random b = a, c = lm_random_stream(&key, 3);
    for (int i = 0; i < 7; i++) (void)lm_random_normal(&c);
    for (int i = 0; i < 100; i++) {
        double x = lm_random_normal(&a);
        CHECK(x == lm_random_normal(&b));
        CHECK(x == lm_random_normal(&c));
    }
}

/* The first numbers of stream 42 under the key 00 01 02 ... 1f, from a separate evaluation (Philox in Python integers, the
 * polar method in 50-digit decimals). They must never change: results are stored under keys that name the stream. */
TEST(random_first_numbers)
{
    lm_digest key;
    for (unsigned i = 0; i < 32; i++) key.bytes[i] = (uint8_t)i;
    lm_random random = lm_random_stream(&key, 42);
    static const double uniform[] = {0x1.f4ebd7f73c962p-2, 0x1.b31f9c7dcc9efp-1, 0x1.ca2176970ba11p-1,
                                     0x1.ae57452ab37ebp-1};
    for (size_t i = 0; i < 4; i++) CHECK(lm_random_uniform(&random) == uniform[i]);
    random = lm_random_stream(&key, 42);
    static const double normal[] = {-0.03691776968115528, 1.1937895287293134,  0.10016813495636098,
                                    0.1515302368882712,   -0.7965375983213248, -0.08115215760027732};
    for (size_t i = 0; i < 6; i++) NEAR(lm_random_normal(&random), normal[i], ABS(1e-15)); /* a few roundings */
}

TEST(random_uniform_moments)
{
    enum { N = 1000000 };
    lm_digest key = key_of("uniform");
    lm_random random = lm_random_stream(&key, 0);
    double sum = 0, sum2 = 0, low = 1, high = 0;
    size_t bins[20] = {0};
    for (int i = 0; i < N; i++) {
        double u = lm_random_uniform(&random);
        CHECK(u >= 0 && u < 1);
        sum += u;
        sum2 += u * u;
        low = fmin(low, u);
        high = fmax(high, u);
        bins[(int)(u * 20)]++;
    }
    NEAR(sum / N, 0.5, ABS(5 * 0.28867513 / 1000));      /* 5 standard errors */
    NEAR(sum2 / N, 1.0 / 3, ABS(5 * 0.29814240 / 1000)); /* sd of u^2 is sqrt(4/45) */
    CHECK(low < 2e-5 && high > 1 - 2e-5);                /* missed with probability e^-20 */
    double chi2 = 0;
    for (int k = 0; k < 20; k++) chi2 += pow((double)bins[k] - N / 20, 2) / (N / 20);
    CHECK(chi2 < 60); /* chi2(19): p < 4e-6 */
}

TEST(random_normal_moments)
{
    enum { N = 1000000 };
    lm_digest key = key_of("normal");
    lm_random random = lm_random_stream(&key, 0);
    double m[5] = {0}, lag = 0, before = 0;
    size_t beyond3 = 0;
    for (int i = 0; i < N; i++) {
        double x = lm_random_normal(&random), p = 1;
        for (int k = 1; k <= 4; k++) m[k] += p *= x;
        lag += x * before;
        before = x;
        beyond3 += fabs(x) > 3;
    }
    /* 5 standard errors; var of x, x^2, x^3, x^4: 1, 2, 15, 96 */
    NEAR(m[1] / N, 0, ABS(5e-3));
    NEAR(m[2] / N, 1, ABS(5e-3 * sqrt(2)));
    NEAR(m[3] / N, 0, ABS(5e-3 * sqrt(15)));
    NEAR(m[4] / N, 3, ABS(5e-3 * sqrt(96)));
    NEAR(lag / N, 0, ABS(5e-3));
    NEAR((double)beyond3, 2699.796, ABS(5 * 52));
}

/* Kolmogorov-Smirnov distance to the normal law: catches a wrong logarithm that leaves the moments nearly right. */
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
TEST(random_normal_distribution)
{
    enum { N = 200000 };
    static double x[N];
    lm_digest key = key_of("normal law");
    lm_random random = lm_random_stream(&key, 17);
    for (int i = 0; i < N; i++) x[i] = lm_random_normal(&random);
    qsort(x, N, sizeof *x, by_value);
    double worst = 0;
    for (int i = 0; i < N; i++) {
        double p = 0.5 * erfc(-x[i] * M_SQRT1_2);
        worst = fmax(worst, fmax(fabs(p - (double)i / N), fabs(p - (double)(i + 1) / N)));
    }
    CHECK(worst < 2.7 / sqrt(N)); /* p < 1e-6 */
}

TEST(random_streams_are_independent)
{
    enum { STREAMS = 1000, N = 1000 };
    lm_digest key = key_of("streams"), other_key = key_of("streamz");
    double first = 0, cross = 0, keys = 0;
    for (uint64_t s = 0; s < STREAMS; s++) {
        lm_random a = lm_random_stream(&key, s), b = lm_random_stream(&key, s + 1), c = lm_random_stream(&other_key, s);
        for (int i = 0; i < N; i++) {
            double u = lm_random_uniform(&a) - 0.5;
            if (i == 0) first += u;
            cross += u * (lm_random_uniform(&b) - 0.5);
            keys += u * (lm_random_uniform(&c) - 0.5);
        }
    }
    double n = STREAMS * (double)N;
    NEAR(first / STREAMS, 0,
         ABS(5 * 0.2887 / sqrt(STREAMS))); /* the first numbers of neighbours do not move together */
    NEAR(cross / n, 0, ABS(5 / 12.0 / sqrt(n)));
    NEAR(keys / n, 0, ABS(5 / 12.0 / sqrt(n)));
}

TEST(random_below_is_unbiased)
{
    lm_digest key = key_of("below");
    lm_random random = lm_random_stream(&key, 0);
    EQUAL_INT(lm_random_below(&random, 0), 0);
    EQUAL_INT(lm_random_below(&random, 1), 0);
    size_t bins[7] = {0};
    enum { N = 700000 };
    for (int i = 0; i < N; i++) {
        uint64_t k = lm_random_below(&random, 7);
        CHECK(k < 7);
        bins[k]++;
    }
    double chi2 = 0;
    for (int k = 0; k < 7; k++) chi2 += pow((double)bins[k] - N / 7, 2) / (N / 7);
    CHECK(chi2 < 40); /* chi2(6): p < 5e-7 */

    /* 3/4 of 2^64: without rejection one third of the range is hit twice as often; mean 0.444 instead of 0.5 */
    uint64_t n = 0xc000000000000000u;
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t k = lm_random_below(&random, n);
        CHECK(k < n);
        sum += (double)k / (double)n;
    }
    size_t low = 0;
    for (int i = 0; i < 100000; i++) low += lm_random_below(&random, n) % 3 == 0;
    NEAR(sum / 100000, 0.5, ABS(5 * 0.2887 / sqrt(100000)));
    NEAR((double)low, 100000 / 3.0, ABS(5 * sqrt(100000 * 2 / 9.0))); /* biased multiply-shift: 50000 */
}
