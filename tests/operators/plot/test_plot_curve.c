/* plot.curve: ticks, bands, and files of real coverage curves. */
#include "operators/plot/_chart.h"
#include "tests/apply.h"
#include "tests/operators/plot/picture.h"
#include "tests/test.h"

#include <fitsio.h>

extern const lm_operator lm_op_plot_curve;

static lm_record *diagonal_curve(const char *id, double bend, size_t n)
{
    double x[64], y[64];
    for (size_t i = 0; i < n; i++) {
        x[i] = (double)i / (double)(n - 1);
        y[i] = x[i] + bend * x[i] * (1 - x[i]);
    }
    lm_record *record = record_new(id);
    record_f64(record, "alpha", x, 1, &n);
    record_f64(record, "ecp", y, 1, &n);
    return record;
}

static void vector_of(lm_record *record, const char *name, const char *file, const char *hdu)
{
    fitsfile *fits = NULL;
    int status = 0;
    long n = 0;
    double values[256];
    fits_open_file(&fits, file, READONLY, &status);
    fits_movnam_hdu(fits, IMAGE_HDU, (char *)(uintptr_t)hdu, 0, &status);
    fits_get_img_size(fits, 1, &n, &status);
    CHECK(!status && n > 1 && n <= 256);
    fits_read_img(fits, TDOUBLE, 1, n, NULL, values, NULL, &status);
    fits_close_file(fits, &status);
    CHECK(!status);
    record_f64(record, name, values, 1, (size_t[]){(size_t)n});
}

static void run(const char *params, const lm_record *const *members, size_t n)
{
    LM_OWN(lm_record) none = apply_gather(&lm_op_plot_curve, params, members, n);
    CHECK(!none); /* a sink has no output */
}

TEST(ticks_are_round_and_inside)
{
    double t[16];
    EQUAL_INT(lm_chart_ticks(0, 1, false, t), 6);
    for (int i = 0; i < 6; i++) NEAR(t[i], 0.2 * i, ABS(1e-15));
    EQUAL_INT(lm_chart_ticks(-7, 23, false, t), 6); /* -5 0 5 10 15 20 */
    NEAR(t[0], -5, ABS(0));
    NEAR(t[5], 20, ABS(0));
    EQUAL_INT(lm_chart_ticks(0, 6, true, t), 7); /* 1 to 10^6 */
    NEAR(t[3], 1000, REL(1e-15));
    EQUAL_INT(lm_chart_ticks(0, 1, true, t), 4); /* 1 2 5 10 */
    NEAR(t[1], 2, REL(1e-15));
    EQUAL_INT(lm_chart_ticks(1, 1, false, t), 0);
    EQUAL_INT(lm_chart_ticks(NAN, 1, false, t), 0);
    for (double low = -3.3; low < 2; low += 0.71)
        for (double width = 1e-6; width < 1e7; width *= 3.7) {
            size_t n = lm_chart_ticks(low, low + width, false, t);
            CHECK(n >= 2 && n <= 12);
            for (size_t i = 0; i < n; i++) CHECK(t[i] >= low - 1e-5 * width && t[i] <= low + width + 1e-5 * width);
        }
}

TEST(tick_texts)
{
    char text[32];
    lm_chart_tick_text(0.6000000000000001, 0.2, false, text);
    EQUAL_TEXT(text, "0.6");
    lm_chart_tick_text(-5, 5, false, text);
    EQUAL_TEXT(text, "−5");
    lm_chart_tick_text(-1e-17, 0.2, false, text);
    EQUAL_TEXT(text, "0.0");
    lm_chart_tick_text(1e-5, 0, true, text);
    EQUAL_TEXT(text, "10⁻⁵");
    lm_chart_tick_text(1e12, 0, true, text);
    EQUAL_TEXT(text, "10¹²");
    lm_chart_tick_text(50, 0, true, text);
    EQUAL_TEXT(text, "50");
}

/* The half width of the grey band, read off the SVG: its second corner is (0, w) on axes of 400 pixels. */
static double band_in(const char *path)
{
    char *text = file_bytes(path, NULL);
    const char *end = strstr(text, "fill=\"#e3e6ea\"");
    if (!end) FAIL("there is no band");
    const char *start = end;
    while (start > text && strncmp(start, "<path d=\"M", 10) != 0) start--;
    double x0, y0, x1, y1;
    CHECK(sscanf(start, "<path d=\"M%lf %lfL%lf %lf", &x0, &y0, &x1, &y1) == 4);
    lm_free(text);
    NEAR(x0, x1, ABS(0));
    return (y0 - y1) / 400;
}

TEST(band_is_that_of_kolmogorov_and_smirnov)
{
    /* P(D_N >= d) = 0.01: Stephens (1974), d (sqrt N + 0.12 + 0.11 / sqrt N) = 1.628, good to about 1 % of d at N = 100 */
    static const int counts[] = {100, 300, 1000, 10000};
    const char *path = words("%s/a.svg", test_folder());
    for (size_t i = 0; i < 4; i++) {
        LM_OWN(lm_record) record = diagonal_curve("one", 0.1, 21);
        record_set(record, "n_sims", lm_int(counts[i]));
        const lm_record *members[] = {record};
        run(words("{\"path\": \"%s\", \"x\": \"alpha\", \"y\": \"ecp\", \"band\": 0.99}", path), members, 1);
        double root = sqrt(counts[i]);
        /* and 0.005 of a pixel in 400 */
        NEAR(band_in(path), 1.6276 / (root + 0.12 + 0.11 / root),
             ((test_tolerance){.relative = 0.01, .absolute = 2e-5}));
        char *text = file_bytes(path, NULL);
        CONTAINS(text, words("99 %% of calibrated curves, N = %d", counts[i]));
        CONTAINS(text, "y = x");
        CONTAINS(text, "expected coverage");
        lm_free(text);
        check_xml(path);
    }
}

TEST(band_follows_the_named_count_or_is_not_drawn)
{
    const char *path = words("%s/a.svg", test_folder());
    LM_OWN(lm_record) record = diagonal_curve("one", 0.1, 21);
    const lm_record *members[] = {record};
    run(words("{\"path\": \"%s\", \"x\": \"alpha\", \"y\": \"ecp\", \"band\": 0.99}", path), members, 1);
    char *text = file_bytes(path, NULL);
    CHECK(!strstr(text, "#e3e6ea"));
    lm_free(text);
    record_set(record, "events", lm_real(100));
    run(words("{\"path\": \"%s\", \"x\": \"alpha\", \"y\": \"ecp\", \"band\": 0.99, \"count\": \"events\"}", path),
        members, 1);
    NEAR(band_in(path), 0.161, ABS(0.001)); /* published to three digits */
}

TEST(coverage_of_real_references)
{
    static const char *const cases[] = {"calibrated", "biased", "overconfident"};
    const char *folder = test_folder();
    lm_record *members[3];
    for (int i = 0; i < 3; i++) {
        const char *file = test_shared(words("reference/tarp/%s.fits", cases[i]));
        members[i] = record_new(cases[i]);
        vector_of(members[i], "alpha", file, "ALPHA_NORM_EUCL");
        vector_of(members[i], "ecp", file, "ECP_NORM_EUCL");
        record_set(members[i], "simulations", lm_int(200));
    }
    const char *svg = words("%s/{id}.svg", folder), *png = words("%s/all.png", folder);
    run(words("{\"path\": \"%s\", \"x\": \"alpha\", \"y\": \"ecp\", \"band\": 0.99}", svg),
        (const lm_record *const *)members, 3);
    run(words("{\"path\": \"%s\", \"x\": \"alpha\", \"y\": \"ecp\", \"band\": 0.99, \"title\": \"TARP\"}", png),
        (const lm_record *const *)members, 3);
    const char *first = words("%s/calibrated.svg", folder); /* {id} is the first record's */
    check_xml(first);
    char *text = file_bytes(first, NULL);
    for (int i = 0; i < 3; i++) CONTAINS(text, cases[i]);
    lm_free(text);
    picture p = picture_read(png);
    CHECK(p.width == 1000 && p.height == 996);
    size_t blue = 0;
    for (size_t i = 0; i < p.width * p.height; i++)
        blue += p.rgb[3 * i] == 0 && p.rgb[3 * i + 1] == 0x72 && p.rgb[3 * i + 2] == 0xB2;
    CHECK(blue > 1000); /* a line of four dots over most of 800 x 800 */
    lm_free(p.rgb);
    for (int i = 0; i < 3; i++) lm_record_unref(members[i]);
}

TEST(a_curve_runs_through_its_points)
{
    /* on axes of 520 x 360 pixels, with 3 and 6 percent of room at the ends */
    const char *path = words("%s/a.svg", test_folder());
    double x[] = {0, 1, 2, 4}, y[] = {10, 20, NAN, 30};
    size_t n = 4;
    LM_OWN(lm_record) record = record_new("a");
    record_f64(record, "t", x, 1, &n);
    record_f64(record, "flux", y, 1, &n);
    const lm_record *members[] = {record};
    run(words("{\"path\": \"%s\", \"x\": \"t\", \"y\": \"flux\"}", path), members, 1);
    char *text = file_bytes(path, NULL);
    double across = 520 / 1.06 / 4, down = 360 / 1.12 / 20, left = 78 + 520 * 0.03 / 1.06,
           foot = 20 + 360 - 360 * 0.06 / 1.12;
    double x0, y0, x1, y1;
    const char *line = strstr(text, "<path d=\"M");
    CHECK(line && sscanf(line, "<path d=\"M%lf %lfL%lf %lf\" fill", &x0, &y0, &x1, &y1) == 4);
    NEAR(x0, left, ABS(0.006)); /* written to a hundredth of a pixel */
    NEAR(y0, foot, ABS(0.006));
    NEAR(x1, left + across, ABS(0.006));
    NEAR(y1, foot - 10 * down, ABS(0.006));
    CONTAINS(line, "fill=\"none\" stroke=\"#0072b2\""); /* and it ends there: the value after it is missing */
    CHECK(!strstr(text, "y = x") && strstr(text, ">flux<"));
    lm_free(text);
}

TEST(records_with_one_value_are_points)
{
    const char *path = words("%s/a.svg", test_folder());
    LM_OWN(lm_record) a = record_new("a");
    LM_OWN(lm_record) b = record_new("b");
    lm_error err;
    OK(lm_record_set(a, "MAG", lm_real(20), "[mag] of the galaxy", &err), &err);
    OK(lm_record_set(b, "MAG", lm_real(22), NULL, &err), &err);
    record_set(a, "chi2", lm_real(1.1));
    record_set(b, "chi2", lm_int(100));
    const lm_record *members[] = {a, b};
    run(words("{\"path\": \"%s\", \"x\": \"MAG\", \"y\": \"chi2\", \"mark\": \"points\", \"log_y\": true}", path),
        members, 2);
    char *text = file_bytes(path, NULL);
    CONTAINS(text, ">MAG [mag]<");
    size_t discs = 0;
    for (const char *c = text; (c = strstr(c, "Z\" fill=\"#0072b2\"")); c++) discs++;
    EQUAL_INT(discs, 2);
    lm_free(text);
}

TEST(low_and_high_shade_a_band)
{
    const char *path = words("%s/a.svg", test_folder());
    double x[] = {1, 2, 3}, y[] = {1, 2, 1}, low[] = {0, 1, 0}, high[] = {2, 3, 2};
    size_t n = 3;
    LM_OWN(lm_record) record = record_new("a");
    record_f64(record, "y", y, 1, &n);
    record_f64(record, "y_low", low, 1, &n);
    record_f64(record, "y_high", high, 1, &n);
    record_f64(record, "x", x, 1, &n);
    const lm_record *members[] = {record};
    run(words("{\"path\": \"%s\", \"x\": \"x\", \"y\": \"y\"}", path), members, 1);
    char *text = file_bytes(path, NULL);
    CONTAINS(text, "fill-opacity=\"0.2\"");
    CONTAINS(text, "y_low to y_high");
    lm_free(text);
}

TEST(no_records_and_no_finite_values_still_make_a_picture)
{
    const char *path = words("%s/a.svg", test_folder());
    run(words("{\"path\": \"%s\", \"x\": \"x\", \"y\": \"y\"}", path), NULL, 0);
    char *text = file_bytes(path, NULL);
    CONTAINS(text, "nothing to show");
    lm_free(text);
    double bad[] = {NAN, INFINITY};
    size_t n = 2;
    LM_OWN(lm_record) record = record_new("a");
    record_f64(record, "y", bad, 1, &n);
    const lm_record *members[] = {record};
    run(words("{\"path\": \"%s\", \"y\": \"y\", \"log_x\": true, \"log_y\": true}", path), members, 1);
    text = file_bytes(path, NULL);
    CONTAINS(text, "nothing to show");
    lm_free(text);
}

static void refused(const char *params, const lm_record *record, lm_status status, const char *part)
{
    lm_error err;
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    const lm_record *members[] = {record};
    apply_input inputs[] = {{"in", members, 1}, {NULL, NULL, 0}};
    EQUAL_INT(apply_step(&lm_op_plot_curve, params, inputs, 0, outputs, NULL, &err), status);
    CONTAINS(err.text, part);
}

TEST(what_cannot_be_plotted_is_named)
{
    double values[] = {1, 2, 3, 4, 5, 6};
    LM_OWN(lm_record) record = record_new("cosmos-1");
    record_f64(record, "loss", values, 1, (size_t[]){6});
    record_f64(record, "time", values, 1, (size_t[]){5});
    record_f64(record, "map", values, 2, (size_t[]){2, 3});
    const char *folder = test_folder();
    refused(words("{\"path\": \"%s/a.svg\", \"x\": \"time\", \"y\": \"loss\"}", folder), record, LM_EINPUT,
            "\"time\" has 5 values and \"loss\" has 6");
    refused(words("{\"path\": \"%s/a.svg\", \"y\": \"map\"}", folder), record, LM_EINPUT, "[2, 3]");
    refused(words("{\"path\": \"%s/a.svg\", \"y\": \"los\"}", folder), record, LM_EINPUT, "\"los\"");
    refused(words("{\"path\": \"%s/a.pdf\", \"y\": \"loss\"}", folder), record, LM_EGRAPH, "a.pdf");
}

/* Draws and encodes with the n-th allocation failing. */
static lm_status draw_failing(uint64_t n, lm_format format)
{
    const double x[] = {0, 0.5, 1}, y[] = {0, 0.6, 1}, low[] = {0, 0.5, 1}, high[] = {0, 0.7, 1};
    const lm_curve curves[] = {{.name = "a", .n = 3, .x = x, .y = y, .low = low, .high = high}};
    const lm_chart chart = {.title = "title",
                            .x_label = "x",
                            .y_label = "y",
                            .curves = curves,
                            .n_curves = 1,
                            .diagonal = true,
                            .half_width = 0.1,
                            .band_label = "band",
                            .diagonal_label = "right"};
    lm_error err;
    lm_text bytes;
    lm_text_init(&bytes);
    LM_OWN(lm_canvas) canvas = NULL;
    lm_alloc_fail_at(n);
    lm_status status = lm_chart_draw(&chart, &canvas, &err);
    if (!status) status = lm_canvas_encode(canvas, format, &bytes, &err);
    lm_alloc_fail_at(0);
    lm_text_done(&bytes);
    return status;
}

TEST(each_allocation_may_fail)
{
    for (int format = LM_FORMAT_PNG; format <= LM_FORMAT_SVG; format++) {
        uint64_t n = 0;
        lm_status status = LM_EMEMORY;
        while (status) {
            status = draw_failing(++n, (lm_format)format);
            if (status) EQUAL_INT(status, LM_EMEMORY);
        }
        CHECK(n > 50); /* each mark is one */
    }
}
