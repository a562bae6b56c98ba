/* Cells of reference points: the bounded product must give what the direct computation gives, always. */
#include "tests/test.h"

#include "operators/core/pqmass.h"
#include "runtime/random.h"

static uint64_t below(void *random, uint64_t n)
{
    return lm_random_below(random, n);
}

/* The direct computation: the first reference of the smallest distance. Long doubles, so that it has no ties of its own; a
 * sample that double precision cannot decide is skipped. */
static size_t direct(const double *x, const double *refs, size_t n_refs, size_t dims, const double *scale,
                     bool *ret_sure)
{
    long double best = INFINITY, second = INFINITY;
    size_t index = 0;
    for (size_t j = 0; j < n_refs; j++) {
        long double sum = 0;
        for (size_t k = 0; k < dims; k++) {
            long double d = ((long double)x[k] - (long double)refs[j * dims + k]) / (scale ? (long double)scale[k] : 1);
            sum += d * d;
        }
        if (sum < best) {
            second = best;
            best = sum;
            index = j;
        } else if (sum < second) {
            second = sum;
        }
    }
    *ret_sure = second - best > 1e-12L * best;
    return index;
}

/* How samples and references are made. */
typedef struct {
    const char *name;
    size_t n, n_refs, dims;
    double offset, sd, clump; /* clump: samples lie within clump * sd of their reference's neighbourhood */
    bool single, scaled;
    size_t min_sure; /* at least so many samples must be decidable */
} scene;

static void compare(const scene *s)
{
    lm_digest key = lm_digest_of(s->name, strlen(s->name));
    lm_random random = lm_random_stream(&key, 0);
    double *refs = lm_alloc(s->n_refs, s->dims * sizeof *refs), *x = lm_alloc(s->n, s->dims * sizeof *x);
    float *x32 = lm_alloc(s->n, s->dims * sizeof *x32);
    double *scale = lm_alloc(s->dims, sizeof *scale);
    uint32_t *nearest = lm_alloc(s->n, sizeof *nearest);
    CHECK(refs && x && x32 && scale && nearest);
    for (size_t i = 0; i < s->n_refs * s->dims; i++) refs[i] = s->offset + s->sd * lm_random_normal(&random);
    for (size_t i = 0; i < s->n * s->dims; i++) {
        double z = lm_random_normal(&random);
        /* clumps: halfway between two references, but for a little noise */
        size_t row = i / s->dims, k = i % s->dims, a = row % s->n_refs, b = (row * 7 + 1) % s->n_refs;
        x[i] = s->clump > 0 ? (refs[a * s->dims + k] + refs[b * s->dims + k]) / 2 + s->clump * s->sd * z
                            : s->offset + s->sd * z;
        if (s->single) x[i] = (double)(x32[i] = (float)x[i]);
    }
    for (size_t k = 0; k < s->dims; k++) scale[k] = s->sd * exp(2 * lm_random_normal(&random));
    lm_error err = {0};
    LM_OWN(lm_cells) cells = NULL;
    OK(lm_cells_new(refs, 1, s->n_refs, s->dims, s->scaled ? scale : NULL, &cells, &err), &err);
    size_t bad, sure_ones = 0;
    if (s->single) lm_cells_find_f32(cells, x32, s->n, nearest, &bad);
    else lm_cells_find_f64(cells, x, s->n, nearest, &bad);
    EQUAL_INT(bad, s->n);
    for (size_t i = 0; i < s->n; i++) {
        bool sure;
        size_t want = direct(x + i * s->dims, refs, s->n_refs, s->dims, s->scaled ? scale : NULL, &sure);
        sure_ones += sure;
        if (sure && want != nearest[i]) FAIL("%s: sample %zu is nearest to %zu, not %u", s->name, i, want, nearest[i]);
    }
    if (sure_ones < s->min_sure) FAIL("%s: only %zu samples can be decided", s->name, sure_ones);
    lm_free(refs);
    lm_free(x);
    lm_free(x32);
    lm_free(scale);
    lm_free(nearest);
}

TEST(cells_equal_the_direct_computation)
{
    static const scene scenes[] = {
        {"plain", 700, 40, 30, 0, 1, 0, false, false, 700},
        {"plain float", 700, 40, 30, 0, 1, 0, true, false, 700},
        {"images", 300, 100, 1000, 0, 1, 0, true, false, 300},
        {"scaled", 700, 40, 30, 5, 1, 0, false, true, 700},
        {"scaled float", 700, 40, 30, 5, 1, 0, true, true, 700},
        {"one dimension", 2000, 50, 1, 0, 1, 0, false, false, 2000},
        {"far away", 500, 40, 8, 1e6, 1, 0, false, false, 500}, /* a product in single precision knows nothing here */
        {"far away float", 500, 40, 8, 1e4, 1, 0, true, false, 490},
        {"halfway", 1000, 40, 5, 0, 1, 1e-6, false, false, 900}, /* below single precision, above double */
        {"halfway float", 1000, 40, 5, 0, 1, 1e-5, true, false, 900},
        {"huge", 500, 30, 6, 0, 1e100, 0, false, false, 500},     /* beyond float32 */
        {"huge float", 500, 30, 6, 0, 1e30, 0, true, false, 500}, /* squares beyond float32 */
        {"tiny", 500, 30, 6, 0, 1e-100, 0, false, false, 500},
        {"tiny float", 500, 30, 6, 0, 1e-36, 0, true, false, 500}, /* squares vanish in float32 */
        {"bright", 400, 30, 64, 1000, 1, 1e-4, false, false, 300},
    };
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) compare(&scenes[i]);
}

/* Equal references: the lowest index, in single and in double precision; also for a sample that is one of them. */
TEST(cells_ties_go_to_the_lowest_index)
{
    enum { D = 20, R = 12, N = 300 };
    lm_digest key = lm_digest_of("ties", 4);
    lm_random random = lm_random_stream(&key, 0);
    double refs[R * D], x[N * D];
    float x32[N * D];
    uint32_t nearest[N];
    for (size_t i = 0; i < R / 3 * D; i++) refs[i] = (double)(float)lm_random_normal(&random);
    memcpy(refs + R / 3 * D, refs, R / 3 * D * sizeof *refs); /* three copies of four points */
    memcpy(refs + 2 * R / 3 * D, refs, R / 3 * D * sizeof *refs);
    for (size_t i = 0; i < N * D; i++) x[i] = i < R * D ? refs[i] : lm_random_normal(&random);
    for (size_t i = 0; i < N * D; i++) x32[i] = (float)x[i];
    lm_error err = {0};
    LM_OWN(lm_cells) cells = NULL;
    OK(lm_cells_new(refs, 1, R, D, NULL, &cells, &err), &err);
    size_t bad;
    for (int single = 0; single < 2; single++) {
        if (single) lm_cells_find_f32(cells, x32, N, nearest, &bad);
        else lm_cells_find_f64(cells, x, N, nearest, &bad);
        for (size_t i = 0; i < N; i++) CHECK(nearest[i] < R / 3);
        for (size_t i = 0; i < R; i++) EQUAL_INT(nearest[i], i % (R / 3));
    }
    EQUAL_INT(lm_cells_doubts(cells), 2 * N); /* every sample has a tie: each was measured again */
}

TEST(cells_of_several_sets)
{
    enum { T = 3, R = 20, D = 7, N = 600 };
    lm_digest key = lm_digest_of("sets", 4);
    lm_random random = lm_random_stream(&key, 0);
    static double refs[T * R * D], x[N * D];
    static uint32_t all[N * T], one[N];
    for (size_t i = 0; i < T * R * D; i++) refs[i] = lm_random_normal(&random);
    for (size_t i = 0; i < N * D; i++) x[i] = lm_random_normal(&random);
    lm_error err = {0};
    LM_OWN(lm_cells) cells = NULL;
    OK(lm_cells_new(refs, T, R, D, NULL, &cells, &err), &err);
    size_t bad;
    lm_cells_find_f64(cells, x, N, all, &bad);
    for (size_t t = 0; t < T; t++) {
        LM_OWN(lm_cells) alone = NULL;
        OK(lm_cells_new(refs + t * R * D, 1, R, D, NULL, &alone, &err), &err);
        lm_cells_find_f64(alone, x, N, one, &bad);
        for (size_t i = 0; i < N; i++) EQUAL_INT(all[i * T + t], one[i]);
    }
}

TEST(cells_report_the_bad_sample)
{
    double refs[] = {0, 0, 1, 1};
    static float x[600 * 2];
    uint32_t nearest[600];
    lm_error err = {0};
    LM_OWN(lm_cells) cells = NULL;
    OK(lm_cells_new(refs, 1, 2, 2, NULL, &cells, &err), &err);
    size_t bad;
    static const size_t places[] = {0, 255, 256, 599};
    for (size_t i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) {
            x[places[i] * 2 + 1] = k ? INFINITY : NAN;
            lm_cells_find_f32(cells, x, 600, nearest, &bad);
            EQUAL_INT(bad, places[i]);
            x[places[i] * 2 + 1] = 0;
        }
    x[11] = 3e38f; /* finite, though its square is not */
    lm_cells_find_f32(cells, x, 600, nearest, &bad);
    EQUAL_INT(bad, 600);
    EQUAL_INT(nearest[5], 0); /* 3e38 and 3e38 - 1 are one number: a tie */
    refs[3] = NAN;
    lm_cells *none = NULL;
    EQUAL_INT(lm_cells_new(refs, 1, 2, 2, NULL, &none, &err), LM_EINPUT);
    CONTAINS(err.text, "reference point 1");
}

TEST(two_sample_chi2_by_hand)
{
    size_t filled;
    /* 2 x 2: n (ad - bc)^2 / (row and column sums): 100 (10*30 - 20*40)^2 / (30 * 70 * 50 * 50) */
    NEAR(lm_two_sample_chi2((int64_t[]){10, 0, 20}, (int64_t[]){40, 0, 30}, 3, &filled), 100 * 250000.0 / 5250000,
         REL(1e-14));
    EQUAL_INT(filled, 2);
    CHECK(lm_two_sample_chi2((int64_t[]){10, 20}, (int64_t[]){20, 40}, 2, &filled) < 1e-13);
    CHECK(lm_two_sample_chi2((int64_t[]){0, 0}, (int64_t[]){20, 40}, 2, &filled) == 0);
}

/* References are drawn without replacement, in proportion to the sets, and every sample as often as any other. */
TEST(pqm_draw_is_fair)
{
    enum { NX = 30, NY = 10, R = 8, TRIALS = 20000 };
    lm_digest key = lm_digest_of("draw", 4);
    size_t drawn[R], hits[NX + NY] = {0};
    double sum = 0, square = 0;
    lm_error err = {0};
    for (uint64_t t = 0; t < TRIALS; t++) {
        lm_random random = lm_random_stream(&key, t);
        uint8_t taken[NX + NY] = {0};
        OK(lm_pqm_draw(below, &random, NX, NY, R, drawn, taken, &err), &err);
        size_t marks = 0, from_x = 0;
        for (size_t i = 0; i < NX + NY; i++) marks += taken[i];
        EQUAL_INT(marks, R);
        for (size_t i = 0; i < R; i++) {
            hits[drawn[i]]++;
            from_x += drawn[i] < NX;
        }
        sum += (double)from_x / TRIALS;
        square += (double)(from_x * from_x) / TRIALS;
    }
    NEAR(sum, 6, ABS(5 * sqrt(1.5 / TRIALS))); /* binomial(8, 3/4) */
    NEAR(square - sum * sum, 1.5, ABS(5 * 1.5 * sqrt(2.0 / TRIALS)));
    for (size_t i = 0; i < NX + NY; i++) NEAR((double)hits[i], TRIALS * 0.2, ABS(5 * sqrt(TRIALS * 0.2)));
    lm_random random = lm_random_stream(&key, 0);
    uint8_t taken[NX + NY] = {0};
    EQUAL_INT(lm_pqm_draw(below, &random, 5, 5, 9, drawn, taken, &err), LM_EINPUT);
    EQUAL_INT(lm_pqm_draw(below, &random, 1, 30, 5, drawn, taken, &err), LM_EINPUT);
}

TEST(moments_of_columns)
{
    enum { N = 1000 };
    double mean[2] = {0}, square[2] = {0}, mean32[2] = {0}, square32[2] = {0};
    for (size_t i = 0; i < N; i++) {
        double row[] = {(double)i, 1e9 + (double)(i % 2)};
        float row32[] = {(float)i, 5};
        lm_moments_add_f64(row, 2, i + 1, mean, square);
        lm_moments_add_f32(row32, 2, i + 1, mean32, square32);
    }
    NEAR(mean[0], 499.5, REL(1e-13));
    NEAR(square[0], (double)N * ((double)N * N - 1) / 12, REL(1e-12));
    NEAR(square[1], N / 4.0, REL(1e-4)); /* 1e9 leaves 1e-7 of one number */
    NEAR(square32[0], (double)N * ((double)N * N - 1) / 12, REL(1e-12));
    CHECK(mean32[1] == 5 && square32[1] == 0);
}
