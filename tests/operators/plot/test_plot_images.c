/* plot.images: which dot a pixel becomes, what is said where there is none, and the same bytes every time. */
#include "operators/plot/_sheet.h"
#include "tests/apply.h"
#include "tests/operators/plot/picture.h"
#include "tests/test.h"

#include <pthread.h>

extern const lm_operator lm_op_plot_images;

static const char *const three[] = {"image", "model", "residual"};

static lm_sheet_style plain(void)
{
    return (lm_sheet_style){.tensors = three,
                            .n_tensors = 3,
                            .share = three,
                            .n_share = 2,
                            .signed_tensors = three + 2,
                            .n_signed = 1,
                            .columns = 2,
                            .thumb = 80,
                            .stretch = LM_STRETCH_LINEAR,
                            .colormap = LM_COLORMAP_GRAY,
                            .diverging = LM_COLORMAP_COOLWARM,
                            .clip_low = 0,
                            .clip_high = 100};
}

static void put(lm_record *record, const char *name, const double *data, size_t h, size_t w)
{
    record_f64(record, name, data, 2, (size_t[]){h, w});
}

/* A galaxy-like picture in numbers that differ by record. */
static lm_record *galaxy(const char *id, size_t h, size_t w, unsigned seed)
{
    double *data = lm_alloc(h * w, sizeof *data);
    lm_record *record = record_new(id);
    CHECK(data);
    for (int t = 0; t < 3; t++) {
        for (size_t i = 0; i < h * w; i++) {
            double y = (double)(i / w) - (double)h / 2, x = (double)(i % w) - (double)w / 2;
            double noise = sin((double)(i * (seed + 7)) * 12.9898) * 0.1;
            data[i] = (t < 2 ? exp(-(x * x + y * y) / 40) : 0) + (t == 1 ? 0 : noise);
        }
        put(record, three[t], data, h, w);
    }
    lm_free(data);
    return record;
}

static picture drawn(const lm_sheet_style *style, const lm_record *const *records, size_t n, double box[][4],
                     size_t n_boxes)
{
    lm_error err;
    const char *path = words("%s/a.png", test_folder());
    LM_OWN(lm_sheet) sheet = NULL;
    OK(lm_sheet_new(style, n, n, 0, n ? records[0] : NULL, &sheet, &err), &err);
    for (size_t i = 0; i < n; i++) OK(lm_sheet_add(sheet, records[i], &err), &err);
    for (size_t b = 0; b < n_boxes; b++) lm_sheet_panel(sheet, b / style->n_tensors, b % style->n_tensors, box[b]);
    OK(lm_sheet_write(sheet, LM_FORMAT_PNG, path, &err), &err);
    return picture_read(path);
}

/* The middle dot of pixel [row, column] of an image of h rows in a panel where each pixel is `zoom` dots. */
static uint32_t pixel(const picture *p, const double box[4], size_t h, double zoom, size_t row, size_t column)
{
    return dot(p, box[0] + ((double)column + 0.5) * zoom, box[1] + ((double)(h - 1 - row) + 0.5) * zoom);
}

TEST(row_0_is_at_the_bottom_and_column_0_at_the_left)
{
    double delta[64] = {0};
    delta[1 * 8 + 6] = 1; /* row 1, column 6 */
    LM_OWN(lm_record) record = record_new("delta");
    put(record, "image", delta, 8, 8);
    lm_sheet_style style = plain();
    double box[1][4];
    picture p = drawn(&style, (const lm_record *[]){record}, 1, box, 1);
    for (size_t row = 0; row < 8; row++)
        for (size_t column = 0; column < 8; column++)
            EQUAL_INT(pixel(&p, box[0], 8, 10, row, column), row == 1 && column == 6 ? 0xFFFFFF : 0x000000);
    /* and its square has its whole size: 10 x 10 dots, 10 to 20 from the foot, 60 to 70 from the left */
    EQUAL_INT(dot(&p, box[0][0] + 60, box[0][1] + 60), 0xFFFFFF);
    EQUAL_INT(dot(&p, box[0][0] + 69, box[0][1] + 69), 0xFFFFFF);
    EQUAL_INT(dot(&p, box[0][0] + 59, box[0][1] + 65), 0x000000);
    EQUAL_INT(dot(&p, box[0][0] + 65, box[0][1] + 70), 0x000000);
    lm_free(p.rgb);
}

TEST(missing_pixels_and_residuals_have_their_colours)
{
    double image[16], residual[16];
    for (int i = 0; i < 16; i++) image[i] = i, residual[i] = i == 0 ? -2 : i == 1 ? 1 : 0;
    image[5] = NAN;
    image[6] = INFINITY;
    image[7] = -INFINITY;
    LM_OWN(lm_record) record = record_new("a");
    put(record, "image", image, 4, 4);
    put(record, "residual", residual, 4, 4);
    lm_sheet_style style = plain();
    double box[3][4];
    picture p = drawn(&style, (const lm_record *[]){record}, 1, box, 3);
    EQUAL_INT(pixel(&p, box[0], 4, 20, 1, 1), lm_colormap_missing(LM_COLORMAP_GRAY));
    EQUAL_INT(pixel(&p, box[0], 4, 20, 1, 2), 0xFFFFFF);
    EQUAL_INT(pixel(&p, box[0], 4, 20, 1, 3), 0x000000);
    EQUAL_INT(pixel(&p, box[0], 4, 20, 0, 3), 0x333333); /* 3/15 of 255 */
    EQUAL_INT(pixel(&p, box[0], 4, 20, 3, 3), 0xFFFFFF);
    EQUAL_INT(pixel(&p, box[2], 4, 20, 0, 0), 0x3B4CC0); /* -2: the blue end */
    EQUAL_INT(pixel(&p, box[2], 4, 20, 0, 1), lm_colormap_rgb(LM_COLORMAP_COOLWARM, 0.75));
    EQUAL_INT(pixel(&p, box[2], 4, 20, 3, 3), 0xDDDDDD);        /* zero: the middle */
    EQUAL_INT(dot(&p, box[1][0] + 2, box[1][1] + 2), 0xF4F4F4); /* no model: an empty panel */
    lm_free(p.rgb);
}

TEST(image_and_model_share_their_limits)
{
    double image[4] = {0, 1, 2, 4}, model[4] = {0, 0, 0, 2};
    LM_OWN(lm_record) record = record_new("a");
    put(record, "image", image, 2, 2);
    put(record, "model", model, 2, 2);
    lm_sheet_style style = plain();
    double box[2][4];
    picture p = drawn(&style, (const lm_record *[]){record}, 1, box, 2);
    EQUAL_INT(pixel(&p, box[1], 2, 40, 1, 1), 0x808080); /* half of the image's range */
    EQUAL_INT(pixel(&p, box[1], 2, 40, 1, 1), pixel(&p, box[0], 2, 40, 1, 0));
    lm_free(p.rgb);
    style.n_share = 0;
    p = drawn(&style, (const lm_record *[]){record}, 1, box, 2);
    EQUAL_INT(pixel(&p, box[1], 2, 40, 1, 1), 0xFFFFFF);
    lm_free(p.rgb);
}

TEST(aspect_is_kept_and_large_images_are_averaged)
{
    /* the first record sets the shape of the panels (square); the second is 4 times as wide as high */
    double square[4] = {0, 1, 0, 1}, wide[4] = {0, 1, 2, 3};
    static double large[160 * 160];
    for (size_t i = 0; i < 160 * 160; i++) large[i] = (double)((i / 160 + i % 160) % 2); /* a chessboard */
    large[0] = NAN; /* one of four: the mean is of the other three */
    LM_OWN(lm_record) a = record_new("a");
    LM_OWN(lm_record) b = record_new("b");
    LM_OWN(lm_record) c = record_new("c");
    put(a, "image", square, 2, 2);
    put(b, "image", wide, 1, 4);
    put(c, "image", large, 160, 160);
    lm_sheet_style style = plain();
    style.n_tensors = 1;
    double box[3][4];
    picture p = drawn(&style, (const lm_record *[]){a, b, c}, 3, box, 3);
    EQUAL_INT(dot(&p, box[1][0] + 5, box[1][1] + 29), 0xF4F4F4); /* 80 x 20 in the middle of 80 x 80 */
    EQUAL_INT(dot(&p, box[1][0] + 5, box[1][1] + 30), 0x000000);
    EQUAL_INT(dot(&p, box[1][0] + 25, box[1][1] + 49), 0x555555);
    EQUAL_INT(dot(&p, box[1][0] + 75, box[1][1] + 40), 0xFFFFFF);
    EQUAL_INT(dot(&p, box[1][0] + 75, box[1][1] + 50), 0xF4F4F4);
    EQUAL_INT(dot(&p, box[2][0] + 40, box[2][1] + 40), 0x808080);
    EQUAL_INT(dot(&p, box[2][0], box[2][1] + 79), 0xAAAAAA);                         /* 2/3 */
    CHECK(box[2][0] == box[0][0] && box[2][1] > box[0][1] && box[1][0] > box[0][0]); /* two columns */
    lm_free(p.rgb);
}

TEST(constant_and_not_finite_images)
{
    double constant[4] = {7, 7, 7, 7}, nothing[4] = {NAN, NAN, NAN, NAN};
    LM_OWN(lm_record) record = record_new("a");
    put(record, "image", constant, 2, 2);
    put(record, "residual", nothing, 2, 2);
    lm_sheet_style style = plain();
    double box[3][4];
    picture p = drawn(&style, (const lm_record *[]){record}, 1, box, 3);
    EQUAL_INT(pixel(&p, box[0], 2, 40, 0, 0), 0x808080);
    EQUAL_INT(dot(&p, box[2][0] + 1, box[2][1] + 1), lm_colormap_missing(LM_COLORMAP_COOLWARM));
    lm_free(p.rgb);
}

/* Runs the operator; the file's text. */
static char *run(const char *path, const char *more, const lm_record *const *members, size_t n)
{
    LM_OWN(lm_record) none = apply_gather(&lm_op_plot_images, words("{\"path\": \"%s\"%s}", path, more), members, n);
    CHECK(!none); /* a sink has no output */
    return file_bytes(path, NULL);
}

TEST(labels_and_notes)
{
    lm_record *members[3] = {galaxy("cosmos-1", 20, 20, 1), galaxy("cosmos-2", 20, 20, 2), galaxy("c<3>&", 20, 20, 3)};
    double line[3] = {1, 2, 3};
    lm_record_drop(members[1], "model");
    record_f64(members[1], "model", line, 1, (size_t[]){3});
    lm_record_drop(members[0], "residual");
    const lm_record *const *all = (const lm_record *const *)members;
    const char *path = words("%s/a.svg", test_folder());
    char *text = run(path, ", \"tensors\": [\"image\", \"model\", \"residual\"], \"title\": \"first {id}\"", all, 3);
    check_xml(path);
    CONTAINS(text, ">cosmos-1<");
    CONTAINS(text, ">cosmos-2<");
    CONTAINS(text, ">c&lt;3&gt;&amp;<");
    CONTAINS(text, ">first cosmos-1<");
    CONTAINS(text, ">model: [3]<");
    CONTAINS(text, ">no residual<");
    CHECK(!strstr(text, "3 records"));
    size_t images = 0;
    for (const char *c = text; (c = strstr(c, "<image ")); c++) images++;
    EQUAL_INT(images, 7 + 7); /* seven panels, each large enough for a colour bar */
    lm_free(text);
    text = run(path, ", \"limit\": 2", all, 3);
    CONTAINS(text, "2 of 3 records");
    CHECK(!strstr(text, "c&lt;3"));
    lm_free(text);
    text = run(path, "", NULL, 0);
    CONTAINS(text, "no records");
    lm_free(text);
    for (int i = 0; i < 3; i++) lm_record_unref(members[i]);
}

TEST(path_takes_the_id_of_the_first_record)
{
    LM_OWN(lm_record) a = galaxy("J0946+1006", 8, 8, 1);
    const char *folder = test_folder();
    const lm_record *members[] = {a};
    LM_OWN(lm_record) none = apply_gather(&lm_op_plot_images, words("{\"path\": \"%s/{id}.png\"}", folder), members, 1);
    picture p = picture_read(words("%s/J0946+1006.png", folder));
    CHECK(p.width > 300 && p.height > 300);
    lm_free(p.rgb);
}

static void refused(const char *params, const char *part)
{
    lm_error err;
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", NULL, 0}, {NULL, NULL, 0}};
    EQUAL_INT(apply_step(&lm_op_plot_images, params, inputs, 0, outputs, NULL, &err), LM_EGRAPH);
    CONTAINS(err.text, part);
}

TEST(parameters_are_checked)
{
    refused("{\"path\": \"a.gif\"}", "a.gif");
    refused("{\"path\": \"a.png\", \"clip\": [99, 1]}", "clip");
    refused("{\"path\": \"a.png\", \"clip\": [1, 101]}", "clip");
    refused("{\"path\": \"a.png\", \"clip\": [1]}", "clip");
    refused("{\"path\": \"a.png\", \"tensors\": []}", "tensors");
    refused("{\"path\": \"a.png\", \"stretch\": \"cube\"}", "cube");
}

/* A sheet with text in two sizes, encoded. */
static void encode(lm_format format, lm_text *ret)
{
    lm_error err;
    lm_sheet_style style = plain();
    style.title = "Galaxies — σ < 3";
    style.thumb = 160;
    LM_OWN(lm_sheet) sheet = NULL;
    LM_OWN(lm_record) record = galaxy("cosmos-1", 33, 31, 5);
    if (lm_sheet_new(&style, 1, 2, 0, record, &sheet, &err) || lm_sheet_add(sheet, record, &err) ||
        lm_canvas_encode(lm_sheet_canvas(sheet), format, ret, &err))
        lm_text_clear(ret);
}

static void *encode_many(void *arg)
{
    lm_text *texts = arg;
    for (int i = 0; i < 8; i++) encode(i % 2 ? LM_FORMAT_SVG : LM_FORMAT_PNG, &texts[i]);
    return NULL;
}

TEST(same_bytes_in_every_run_and_thread)
{
    static lm_text texts[3][8];
    pthread_t threads[2];
    for (int t = 0; t < 2; t++) CHECK(pthread_create(&threads[t], NULL, encode_many, texts[t]) == 0);
    for (int t = 0; t < 2; t++) pthread_join(threads[t], NULL);
    encode_many(texts[2]);
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < 8; i++) {
            const lm_text *wanted = &texts[2][i % 2];
            CHECK(wanted->length > 5000);
            CHECK(texts[t][i].length == wanted->length &&
                  memcmp(texts[t][i].chars, wanted->chars, wanted->length) == 0);
        }
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < 8; i++) lm_text_done(&texts[t][i]);
}

static lm_status draw_failing(uint64_t n, const lm_record *record, lm_format format)
{
    lm_error err;
    lm_text bytes;
    lm_text_init(&bytes);
    lm_sheet_style style = plain();
    style.title = "title";
    style.thumb = 160;
    LM_OWN(lm_sheet) sheet = NULL;
    lm_alloc_fail_at(n);
    lm_status status = lm_sheet_new(&style, 1, 2, 3, record, &sheet, &err);
    if (!status) status = lm_sheet_add(sheet, record, &err);
    if (!status) status = lm_canvas_encode(lm_sheet_canvas(sheet), format, &bytes, &err);
    lm_alloc_fail_at(0);
    lm_text_done(&bytes);
    return status;
}

TEST(each_allocation_may_fail)
{
    LM_OWN(lm_record) record = galaxy("cosmos-1", 12, 10, 5);
    for (int format = LM_FORMAT_PNG; format <= LM_FORMAT_SVG; format++) {
        uint64_t n = 0;
        lm_status status = LM_EMEMORY;
        while (status) {
            status = draw_failing(++n, record, (lm_format)format);
            if (status) EQUAL_INT(status, LM_EMEMORY);
        }
        CHECK(n > 30);
    }
}
