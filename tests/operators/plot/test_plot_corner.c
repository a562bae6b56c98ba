/* plot.corner: quantiles, densities and contours against closed forms, and pictures of ordinary and odd draws. */
#include "operators/plot/_corner.h"
#include "tests/apply.h"
#include "tests/operators/plot/picture.h"
#include "tests/test.h"

extern const lm_operator lm_op_plot_corner;

enum { G = LM_CORNER_GRID };

/* ---- draws ------------------------------------------------------------------------------------------------------ */

static uint64_t state;

/* Two normal numbers (Box & Muller) from an LCG: the same everywhere. */
static void normals(double *a, double *b)
{
    double u[2];
    for (int i = 0; i < 2; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        u[i] = ((double)(state >> 11) + 0.5) * 0x1p-53;
    }
    *a = sqrt(-2 * log(u[0])) * cos(2 * M_PI * u[1]);
    *b = sqrt(-2 * log(u[0])) * sin(2 * M_PI * u[1]);
}

/* n rows of dim columns, each a sum of two normal numbers with a correlation of 0.8 from one to the next. */
static double *correlated(size_t n, size_t dim)
{
    double *rows = lm_alloc(n * dim + 1, sizeof *rows), z, other;
    CHECK(rows);
    state = 7;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < dim; k++) {
            normals(&z, &other);
            rows[i * dim + k] = k ? 0.8 * rows[i * dim + k - 1] + 0.6 * z : z;
        }
    return rows;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

TEST(quantiles_of_weighted_draws)
{
    const double values[] = {5, 1, 4, 2, 3}, parts[] = {0.01, 0.1, 0.5, 0.7, 0.99};
    size_t order[8];
    double q[5];
    lm_corner_quantiles(values, NULL, 5, parts, 5, order, q);
    NEAR(q[0], 1, ABS(0)); /* the middle of the first step is at 0.1 */
    NEAR(q[1], 1, ABS(1e-15));
    NEAR(q[2], 3, ABS(1e-15));
    NEAR(q[3], 4, ABS(1e-14));
    NEAR(q[4], 5, ABS(0));
    /* a weight of k is about the same as k draws: medians between equal numbers agree exactly */
    const double few[] = {1, 2, 3}, weights[] = {1, 5, 1}, median[] = {0.5};
    lm_corner_quantiles(few, weights, 3, median, 1, order, q);
    NEAR(q[0], 2, ABS(1e-15));
    lm_corner_quantiles(few, (double[]){6, 1, 1}, 3, median, 1, order, q);
    NEAR(q[0], 1 + 1 / 3.5, ABS(1e-14)); /* from 1 at 3/8 to 2 at 6.5/8 */
    NEAR(lm_corner_effective(NULL, 7), 7, ABS(0));
    NEAR(lm_corner_effective((double[]){2, 2, 2}, 3), 3, REL(1e-15));
    NEAR(lm_corner_effective((double[]){1, 1e-9}, 2), 1, REL(1e-8));
}

typedef struct {
    size_t curves, points;
    double area, least, largest; /* radius from the grid's middle */
    bool open;
} traced;

static void trace(void *arg, const double *x, const double *y, size_t n)
{
    traced *t = arg;
    t->curves++;
    t->points += n;
    t->open |= !(x[0] == x[n - 1] && y[0] == y[n - 1]);
    for (size_t i = 0; i + 1 < n; i++) {
        double r = hypot(x[i] - (G - 1) / 2.0, y[i] - (G - 1) / 2.0);
        t->area += (x[i] * y[i + 1] - x[i + 1] * y[i]) / 2;
        t->least = fmin(t->least, r);
        t->largest = fmax(t->largest, r);
    }
    t->area = fabs(t->area);
}

TEST(contours_are_closed_and_lie_on_the_level)
{
    static double d[G * G];
    lm_error err;
    for (int j = 0; j < G; j++)
        for (int i = 0; i < G; i++) {
            double x = i - (G - 1) / 2.0, y = j - (G - 1) / 2.0;
            d[j * G + i] = exp(-(x * x + y * y) / (2 * 12 * 12));
        }
    traced t = {.least = HUGE_VAL};
    OK(lm_corner_contours(d, exp(-0.5), trace, &t, &err), &err);
    EQUAL_INT(t.curves, 1);
    CHECK(!t.open);
    NEAR(t.least, 12,
         ABS(0.01)); /* straight lines between points: 1/8 of the curvature, 1/144 a step, over the slope */
    NEAR(t.largest, 12, ABS(0.01));
    NEAR(t.area, M_PI * 144, REL(2e-3));
    /* a ring is two curves, a level that reaches the border is closed along it, a saddle does not break */
    for (int k = 0; k < G * G; k++) d[k] = d[k] > 0.3 && d[k] < 0.8;
    t = (traced){.least = HUGE_VAL};
    OK(lm_corner_contours(d, 0.5, trace, &t, &err), &err);
    EQUAL_INT(t.curves, 2);
    for (int k = 0; k < G * G; k++) d[k] = 1;
    t = (traced){.least = HUGE_VAL};
    OK(lm_corner_contours(d, 0.5, trace, &t, &err), &err);
    EQUAL_INT(t.curves, 1);
    NEAR(t.area, G * G - 0.5, ABS(1e-9)); /* half a step beyond the outer points, cut at the corners */
    for (int j = 0; j < G; j++)
        for (int i = 0; i < G; i++) d[j * G + i] = (i + j) % 2;
    t = (traced){.least = HUGE_VAL};
    OK(lm_corner_contours(d, 0.4, trace, &t, &err), &err);
    CHECK(!t.open && t.curves >= 1);
    t = (traced){.least = HUGE_VAL};
    OK(lm_corner_contours(d, HUGE_VAL, trace, &t, &err), &err);
    OK(lm_corner_contours(d, 0, trace, &t, &err), &err);
    EQUAL_INT(t.curves, 0);
}

TEST(regions_hold_what_their_level_says)
{
    enum { N = 40000 };
    static double x[N], y[N], density[G * G], room[G * G];
    static const double levels[] = {0.393469, 0.864665}; /* 1 - exp(-r^2/2) for r = 1, 2 */
    double thresholds[2], sum = 0;
    state = 3;
    for (int i = 0; i < N; i++) normals(&x[i], &y[i]);
    lm_corner_window window = {-5, 5, -5, 5, -9, 9, -9, 9};
    const double h = pow(N, -1.0 / 6);
    lm_corner_density(x, y, NULL, N, &window, (double[]){h, h}, room, density);
    for (int i = 0; i < G * G; i++) sum += density[i];
    NEAR(sum, 1, ABS(1e-4)); /* of 40000 draws about two are outside */
    lm_corner_thresholds(density, levels, 2, room, thresholds);
    double step = 10.0 / (G - 1);
    for (int k = 0; k < 2; k++) {
        traced t = {.least = HUGE_VAL};
        lm_error err;
        OK(lm_corner_contours(density, thresholds[k], trace, &t, &err), &err);
        /* the kernel adds h^2 to the variance; 2 % is the noise of the draws */
        double r = (k + 1) * sqrt(1 + h * h);
        NEAR(sqrt(t.area / M_PI) * step, r, REL(0.02));
        int held = 0;
        for (int i = 0; i < N; i++)
            held += lm_corner_at(density, (x[i] + 5) / step, (y[i] + 5) / step) >= thresholds[k];
        NEAR(held / (double)N, 1 - exp(-r * r / 2), ABS(0.01));
    }
    lm_corner_thresholds(density, (double[]){0.5, 1.5}, 2, room, thresholds);
    CHECK(isfinite(thresholds[0]) && isinf(thresholds[1]));
}

TEST(an_edge_of_the_prior_stays_an_edge)
{
    enum { N = 20000 };
    static double x[N], y[N], density[G * G], room[G * G];
    for (int i = 0; i < N; i++) x[i] = (i + 0.5) / N, y[i] = fmod((i + 0.5) * 0.6180339887498949, 1);
    /* a uniform square in a window twice as wide: without care the kernel halves the density at the edge */
    lm_corner_window window = {-0.5, 1.5, -0.5, 1.5, 0, 1, 0, 1};
    lm_corner_density(x, y, NULL, N, &window, (double[]){0.05, 0.05}, room, density);
    double step = 2.0 / (G - 1), middle = lm_corner_at(density, 1 / step, 1 / step);
    NEAR(lm_corner_at(density, 0.54 / step, 1 / step), middle, REL(0.05));
    NEAR(lm_corner_at(density, 1 / step, 1.46 / step), middle, REL(0.05));
    NEAR(lm_corner_at(density, 0.45 / step, 1 / step), 0, ABS(0));
    NEAR(lm_corner_at(density, 1 / step, 1.56 / step), 0, ABS(0));
}

/* ---- pictures --------------------------------------------------------------------------------------------------- */

static lm_status draw(const lm_record *record, const char *path, const char *more, lm_error *err)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", &record, 1}, {NULL, NULL, 0}};
    return apply_step(&lm_op_plot_corner, words("{\"path\": \"%s\"%s}", path, more), inputs, 0, outputs, NULL, err);
}

static lm_record *record_of(size_t n, size_t dim, const char *names)
{
    lm_record *record = record_new("c");
    double *rows = correlated(n, dim);
    record_f64(record, "samples", rows, 2, (size_t[]){n, dim});
    if (names) record_set(record, "names", lm_text_value(names));
    lm_free(rows);
    return record;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

static char *svg_of(const lm_record *record, const char *more)
{
    lm_error err;
    const char *path = words("%s/a.svg", test_folder());
    OK(draw(record, path, more, &err), &err);
    check_xml(path);
    return file_bytes(path, NULL);
}

TEST(a_corner_has_its_panels_words_and_numbers)
{
    LM_OWN(lm_record) record = record_of(4000, 3, "theta_E, mass.gamma1 ,q");
    record_set(record, "TRUE_Q", lm_real(0.25));
    char *text = svg_of(record, ", \"truth\": {\"q\": \"{TRUE_Q}\", \"theta_E\": 0.5}, \"title\": \"J1\", \"labels\": "
                                "{\"q\": \"axis ratio\"}");
    EQUAL_INT(count(text, "<image"), 3); /* two by two */
    CONTAINS(text, ">θ<");
    CONTAINS(text, ">mass.γ<");
    CONTAINS(text, ">axis ratio<");
    CONTAINS(text, ">J1<");
    CONTAINS(text, ">4000 draws; regions of 39.3, 86.5 %<");
    CONTAINS(text, ">truth<");
    /* the standard deviations are 1, in the median and its errors */
    CHECK(strstr(text, ">+1.0") || strstr(text, ">+0.9"));
    /* truth: two lines in histograms, three panels with q or theta_E: 1 + 1 of one each, 2 of both, and its square, a
     * legend's */
    EQUAL_INT(count(text, "stroke=\"#d55e00\""), 2 + 4 + 1);
    EQUAL_INT(count(text, "fill=\"#d55e00\""), 1);
    lm_free(text);
    text = svg_of(record, ", \"show\": [\"q\", \"theta_E\"], \"titles\": false");
    EQUAL_INT(count(text, "<image"), 1);
    CHECK(!strstr(text, "γ") && !strstr(text, "#d55e00") && !strstr(text, ">+"));
    lm_free(text);
}

TEST(pixels_show_regions_points_and_the_truth)
{
    LM_OWN(lm_record) record = record_of(4000, 2, "a, b");
    lm_error err;
    const char *path = words("%s/a.png", test_folder());
    OK(draw(record, path, ", \"size\": 100, \"truth\": {\"a\": 0}", &err), &err);
    picture p = picture_read(path);
    size_t inner = 0, outer = 0, truth = 0, other = 0;
    for (size_t i = 0; i < p.width * p.height; i++) {
        uint32_t c = (uint32_t)p.rgb[3 * i] << 16 | (uint32_t)p.rgb[3 * i + 1] << 8 | p.rgb[3 * i + 2];
        inner += c == 0x3B7DBB;
        outer += c == 0xA9CBE6;
        truth += c == 0xD55E00;
        other += c != 0xFFFFFF;
    }
    lm_free(p.rgb);
    /* of a Gaussian the area within 2 sigma is four times that within 1 */
    CHECK(inner > 500 && outer > 2 * inner && outer < 4 * inner);
    CHECK(truth > 300 && other > inner + outer + truth);
}

TEST(one_parameter_or_a_plain_vector)
{
    LM_OWN(lm_record) record = record_of(500, 1, "H0");
    char *text = svg_of(record, ", \"title\": \"all of it\"");
    CONTAINS(text, ">all of it<");
    CHECK(!strstr(text, "<image"));
    lm_free(text);
    LM_OWN(lm_record) flat = record_new("flat");
    double values[] = {1, 2, 3, 4, 5, 6};
    record_f64(flat, "draws", values, 1, (size_t[]){6});
    text = svg_of(flat, ", \"tensor\": \"draws\"");
    CONTAINS(text, ">p<"); /* p1, with its index */
    lm_free(text);
}

TEST(odd_draws_make_a_picture)
{
    enum { N = 300 };
    double rows[N][5];
    for (int i = 0; i < N; i++) {
        double a, b;
        normals(&a, &b);
        rows[i][0] = 7;                      /* constant */
        rows[i][1] = 1e6 + 1e-3 * a;         /* many digits */
        rows[i][2] = b * 1e-30;              /* tiny */
        rows[i][3] = a > 0 ? 1e308 : -1e308; /* their difference is no number */
        rows[i][4] = i % 3;                  /* few different ones */
    }
    rows[5][2] = NAN, rows[6][1] = INFINITY;
    LM_OWN(lm_record) record = record_new("odd");
    record_f64(record, "samples", rows[0], 2, (size_t[]){N, 5});
    record_set(record, "names",
               lm_text_value("constant, a_very_long_name_that_no_panel_can_hold_at_all, tiny, vast <&>, few"));
    char *text = svg_of(record, "");
    CONTAINS(text, ">298 draws");
    CONTAINS(text, "− 1000000 [10⁻³]");
    CONTAINS(text, "[10⁻³⁰]");
    CONTAINS(text, "&lt;&amp;&gt;");
    CHECK(!strstr(text, ">nan") && !strstr(text, "inf<") &&
          !strstr(text, "92233720")); /* how a length that is none is written */
    EQUAL_INT(count(text, "<image"), 10);
    lm_free(text);

    double few[15][2];
    for (int i = 0; i < 15; i++) normals(&few[i][0], &few[i][1]);
    LM_OWN(lm_record) small = record_new("few");
    record_f64(small, "samples", few[0], 2, (size_t[]){15, 2});
    text = svg_of(small, ""); /* points, no contour: the two histograms' outlines are the only curves of that colour */
    EQUAL_INT(count(text, "stroke=\"#17456f\""), 2);
    lm_free(text);

    LM_OWN(lm_record) none = record_new("none");
    record_f64(none, "samples", few[0], 2, (size_t[]){0, 2});
    text = svg_of(none, "");
    CONTAINS(text, "nothing to show");
    lm_free(text);
}

TEST(weights_move_the_histogram)
{
    enum { N = 2000 };
    static double rows[N][1], weights[N];
    for (int i = 0; i < N; i++) rows[i][0] = i, weights[i] = i < 1000 ? 1e-12 : i == 1500 ? -1 : 1;
    LM_OWN(lm_record) record = record_new("w");
    record_f64(record, "samples", rows[0], 2, (size_t[]){N, 1});
    char *text = svg_of(record, "");
    CONTAINS(text, "= 1000");
    lm_free(text);
    record_f64(record, "weights", weights, 1, (size_t[]){N});
    text = svg_of(record, "");
    CONTAINS(text, "= 1499"); /* one of negative weight does not count */
    lm_free(text);
}

static void refused(const lm_record *record, const char *more, lm_status status, const char *part)
{
    lm_error err;
    EQUAL_INT(draw(record, words("%s/a.svg", test_folder()), more, &err), status);
    CONTAINS(err.text, part);
}

TEST(what_cannot_be_plotted_is_named)
{
    LM_OWN(lm_record) record = record_of(30, 2, "a, b");
    double cube[8] = {0};
    record_f64(record, "cube", cube, 3, (size_t[]){2, 2, 2});
    record_f64(record, "short", cube, 1, (size_t[]){3});
    refused(record, ", \"tensor\": \"draws\"", LM_EINPUT, "\"draws\"");
    refused(record, ", \"tensor\": \"cube\"", LM_EINPUT, "[2, 2, 2]");
    refused(record, ", \"names\": \"a\"", LM_EINPUT, "1 names for 2 columns");
    refused(record, ", \"show\": [\"c\"]", LM_EINPUT, "no parameter \"c\"");
    refused(record, ", \"truth\": {\"c\": 1}", LM_EINPUT, "no parameter \"c\"");
    refused(record, ", \"truth\": {\"a\": \"much\"}", LM_EINPUT, "\"much\"");
    refused(record, ", \"weights\": \"short\"", LM_EINPUT, "3 weights for 30");
    refused(record, ", \"levels\": [0.9, 0.5]", LM_EGRAPH, "must rise");
    refused(record, ", \"levels\": [0.5, 1]", LM_EGRAPH, "between 0 and 1");
    lm_error err;
    EQUAL_INT(draw(record, words("%s/a.pdf", test_folder()), "", &err), LM_EGRAPH);
}

TEST(each_allocation_may_fail)
{
    LM_OWN(lm_record) record = record_of(200, 2, "a, b");
    char path[1200];
    snprintf(path, sizeof path, "%s/a.svg", test_folder());
    lm_status status = LM_EMEMORY;
    uint64_t n = 0;
    while (status) {
        lm_error err;
        lm_alloc_fail_at(++n);
        status = draw(record, path, ", \"size\": 40", &err);
        lm_alloc_fail_at(0);
        if (status) EQUAL_INT(status, LM_EMEMORY);
    }
    CHECK(n > 50);
}
