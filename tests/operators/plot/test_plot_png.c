/* The PNG encoder against zlib, and a canvas's marks where they belong. */
#include "operators/plot/_canvas.h"
#include "operators/plot/_png.h"
#include "tests/operators/plot/picture.h"
#include "tests/test.h"

static void write_file(const char *path, const lm_text *bytes)
{
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(lm_text_peek(bytes), 1, bytes->length, file) == bytes->length && fclose(file) == 0);
}

/* Encodes, decodes with zlib, compares. Returns the size. */
static size_t round_trip(const char *path, const uint8_t *rgb, size_t width, size_t height)
{
    lm_error err;
    lm_text png;
    lm_text_init(&png);
    OK(lm_png_encode(rgb, width, height, 96, &png, &err), &err);
    write_file(path, &png);
    picture back = picture_read(path);
    EQUAL_INT(back.width, width);
    EQUAL_INT(back.height, height);
    CHECK(memcmp(back.rgb, rgb, 3 * width * height) == 0);
    lm_free(back.rgb);
    size_t n = png.length;
    lm_text_done(&png);
    return n;
}

TEST(pixels_come_back_whatever_they_are)
{
    static uint8_t rgb[3 * 400 * 300];
    const char *path = words("%s/a.png", test_folder());
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    size_t noise = round_trip(path, rgb, 400, 300); /* no matches, all literals; longer than the window */
    CHECK(noise > sizeof rgb && noise < sizeof rgb * 9 / 8);
    round_trip(path, rgb, 1, 1);
    round_trip(path, rgb, 1, 300);
    round_trip(path, rgb, 399, 1);
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i / 3 % 400 / 7 + i / 1200 / 5 * 3);
    CHECK(round_trip(path, rgb, 400, 300) < sizeof rgb / 40); /* blocks of 7 x 5 equal pixels */
    memset(rgb, 255, sizeof rgb);
    CHECK(round_trip(path, rgb, 400, 300) < sizeof rgb / 100);                /* matches of 258 bytes cost 13 bits */
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)((i * i) >> 7); /* matches at many distances */
    round_trip(path, rgb, 400, 300);
}

TEST(empty_or_huge_pictures_are_refused)
{
    lm_error err;
    lm_text png;
    lm_text_init(&png);
    uint8_t dot_of_black[3] = {0};
    EQUAL_INT(lm_png_encode(dot_of_black, 0, 1, 0, &png, &err), LM_EINPUT);
    EQUAL_INT(lm_png_encode(dot_of_black, 1, 0, 0, &png, &err), LM_EINPUT);
    EQUAL_INT(lm_png_encode(dot_of_black, 1u << 20, 1u << 20, 0, &png, &err), LM_EINPUT);
    CONTAINS(err.text, "1048576 x 1048576");
    EQUAL_INT(png.length, 0);
    lm_text_done(&png);
}

TEST(marks_are_where_they_were_put)
{
    lm_error err;
    const char *path = words("%s/a.png", test_folder());
    LM_OWN(lm_canvas) canvas = lm_canvas_new(200, 100, 1);
    const uint8_t four[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3};
    lm_canvas_image(canvas, 10, 20, 40, 20, four, 2, 2);
    lm_canvas_rectangle(canvas, 100, 60, 30, 10, 0x123456);
    lm_canvas_segment(canvas, 150.5, 10, 150.5, 90, 3, 0x00AA00, 0);
    lm_canvas_clip(canvas, 60, 0, 20, 100);
    lm_canvas_segment(canvas, 55, 50.5, 95, 50.5, 3, 0xAA0000, 0);
    lm_canvas_clip(canvas, 0, 0, 0, 0);
    OK(lm_canvas_write(canvas, LM_FORMAT_PNG, path, &err), &err);
    picture p = picture_read(path);
    EQUAL_INT(p.width, 200);
    EQUAL_INT(p.height, 100);
    EQUAL_INT(dot(&p, 10, 20), 0xFF0000);
    EQUAL_INT(dot(&p, 29, 29), 0xFF0000);
    EQUAL_INT(dot(&p, 30, 20), 0x00FF00);
    EQUAL_INT(dot(&p, 10, 30), 0x0000FF);
    EQUAL_INT(dot(&p, 49, 39), 0x010203);
    EQUAL_INT(dot(&p, 50, 39), 0xFFFFFF);
    EQUAL_INT(dot(&p, 9, 20), 0xFFFFFF);
    EQUAL_INT(dot(&p, 100, 60), 0x123456);
    EQUAL_INT(dot(&p, 129, 69), 0x123456);
    EQUAL_INT(dot(&p, 130, 69), 0xFFFFFF);
    EQUAL_INT(dot(&p, 150, 50), 0x00AA00); /* the middle of three dots is wholly covered */
    EQUAL_INT(dot(&p, 147, 50), 0xFFFFFF);
    EQUAL_INT(dot(&p, 154, 50), 0xFFFFFF);
    EQUAL_INT(dot(&p, 70, 50), 0xAA0000);
    EQUAL_INT(dot(&p, 57, 50), 0xFFFFFF); /* clipped */
    EQUAL_INT(dot(&p, 84, 50), 0xFFFFFF);
    lm_free(p.rgb);
}

/* The columns and rows that hold ink. */
static void ink(const picture *p, size_t box[4])
{
    box[0] = p->width, box[1] = p->height, box[2] = box[3] = 0;
    for (size_t y = 0; y < p->height; y++)
        for (size_t x = 0; x < p->width; x++)
            if ((dot(p, (double)x, (double)y) & 255) < 128) {
                if (x < box[0]) box[0] = x;
                if (y < box[1]) box[1] = y;
                if (x > box[2]) box[2] = x;
                if (y > box[3]) box[3] = y;
            }
}

TEST(text_has_the_size_and_the_place_that_were_asked_for)
{
    lm_error err;
    const char *path = words("%s/a.png", test_folder());
    for (int align = 0; align < 3; align++) {
        LM_OWN(lm_canvas) canvas = lm_canvas_new(600, 100, 1);
        lm_canvas_text(canvas, 300, 50, (lm_font){.size = 40, .align = align / 2.0}, "HHHHHH");
        OK(lm_canvas_write(canvas, LM_FORMAT_PNG, path, &err), &err);
        picture p = picture_read(path);
        size_t box[4];
        ink(&p, box);
        double width = lm_canvas_text_width("HHHHHH", 40);
        /* side bearings of H are 0.1 of the size; other fonts than DejaVu Sans are a little narrower or wider */
        NEAR((double)(box[2] - box[0]), width - 0.2 * 40, REL(0.15));
        NEAR((double)(box[3] - box[1]), 0.73 * 40, ABS(3));
        NEAR((double)(box[0] + box[2]) / 2, 300 + (0.5 - align / 2.0) * width, ABS(0.06 * width));
        NEAR((double)(box[1] + box[3]) / 2, 50, ABS(3));
        lm_free(p.rgb);
    }
}

TEST(svg_escapes_and_survives_bytes_that_are_no_text)
{
    lm_error err;
    const char *path = words("%s/a.svg", test_folder());
    LM_OWN(lm_canvas) canvas = lm_canvas_new(100, 50, 1);
    lm_canvas_text(canvas, 5, 10, (lm_font){.size = 12}, "a<b & \"c\" #1 \xff\xc3(\x01 σ");
    lm_canvas_text_within(canvas, 5, 30, 40, (lm_font){.size = 12}, "a very long name of a record");
    OK(lm_canvas_write(canvas, LM_FORMAT_SVG, path, &err), &err);
    check_xml(path);
    char *text = file_bytes(path, NULL);
    CONTAINS(text, "a&lt;b &amp; \"c\" #1 ?\?(  σ");
    CONTAINS(text, "…");
    CHECK(!strstr(text, "long name"));
    lm_free(text);
    OK(lm_canvas_write(canvas, LM_FORMAT_PNG, words("%s.png", path), &err), &err);
}

TEST(writing_to_no_folder_says_so)
{
    lm_error err;
    LM_OWN(lm_canvas) canvas = lm_canvas_new(10, 10, 1);
    EQUAL_INT(lm_canvas_write(canvas, LM_FORMAT_SVG, words("%s/none/a.svg", test_folder()), &err), LM_EIO);
    CONTAINS(err.text, "No such file");
    lm_format format;
    EQUAL_INT(lm_format_of_path("a.jpg", &format, &err), LM_EGRAPH);
    CONTAINS(err.text, "a.jpg");
    OK(lm_format_of_path("b.x/A.PNG", &format, &err), &err);
    EQUAL_INT(format, LM_FORMAT_PNG);
}

TEST(many_pictures_in_a_row)
{
    lm_error err;
    for (int i = 0; i < 250; i++) { /* PLplot has room for 100 streams: each must be given back */
        LM_OWN(lm_canvas) canvas = lm_canvas_new(20, 20, 1);
        lm_canvas_text(canvas, 1, 10, (lm_font){.size = 10}, "a");
        lm_text png;
        lm_text_init(&png);
        OK(lm_canvas_encode(canvas, LM_FORMAT_PNG, &png, &err), &err);
        lm_text_done(&png);
    }
}
