#include "operators/plot/_canvas.h"
#include "operators/plot/_canvas_marks.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

lm_canvas *lm_canvas_new(double width, double height, double scale)
{
    lm_canvas *canvas = lm_alloc(1, sizeof *canvas);
    if (!canvas) return NULL;
    canvas->width = ceil(width);
    canvas->height = ceil(height);
    canvas->scale = scale;
    return canvas;
}

lm_canvas *lm_canvas_free(lm_canvas *canvas)
{
    if (!canvas) return NULL;
    for (size_t i = 0; i < canvas->n; i++) {
        lm_free(canvas->marks[i].points);
        lm_free(canvas->marks[i].text);
        lm_free(canvas->marks[i].rgb);
    }
    lm_free(canvas->marks);
    return lm_free(canvas);
}

/* The next mark, or NULL once something has failed. */
static mark *add(lm_canvas *canvas, mark_kind kind, uint32_t color)
{
    if (canvas->failed || !lm_grow(&canvas->marks, canvas->n, &canvas->cap, sizeof *canvas->marks)) {
        canvas->failed = true;
        return NULL;
    }
    mark *m = &canvas->marks[canvas->n++];
    *m = (mark){.kind = kind, .color = color, .opacity = 1};
    return m;
}

static mark *add_points(lm_canvas *canvas, mark_kind kind, uint32_t color, const double *x, const double *y, size_t n)
{
    mark *m = add(canvas, kind, color);
    if (!m) return NULL;
    m->points = lm_alloc(2 * n, sizeof *m->points);
    if (!m->points) {
        canvas->failed = true;
        return NULL;
    }
    m->n = n;
    memcpy(m->points, x, n * sizeof *x);
    memcpy(m->points + n, y, n * sizeof *y);
    return m;
}

static void solid(lm_canvas *canvas, const double *x, const double *y, size_t n, double width, uint32_t color)
{
    mark *m = n < 2 ? NULL : add_points(canvas, MARK_LINE, color, x, y, n);
    if (m) m->line = width;
}

void lm_canvas_line(lm_canvas *canvas, const double *x, const double *y, size_t n, double width, uint32_t color,
                    double dash)
{
    if (!(dash > 0)) {
        solid(canvas, x, y, n, width, color);
        return;
    }
    double left = dash; /* of this dash or gap */
    bool on = true;
    for (size_t i = 0; i + 1 < n; i++) {
        double dx = x[i + 1] - x[i], dy = y[i + 1] - y[i], length = hypot(dx, dy), at = 0;
        while (at < length) {
            double end = fmin(at + left, length), a = at / length, b = end / length;
            if (on)
                solid(canvas, (double[]){x[i] + a * dx, x[i] + b * dx}, (double[]){y[i] + a * dy, y[i] + b * dy}, 2,
                      width, color);
            left -= end - at;
            at = end;
            if (left <= 1e-9 * dash) {
                on = !on;
                left = on ? dash : 0.8 * dash;
            }
        }
    }
}

void lm_canvas_segment(lm_canvas *canvas, double x0, double y0, double x1, double y1, double width, uint32_t color,
                       double dash)
{
    lm_canvas_line(canvas, (double[]){x0, x1}, (double[]){y0, y1}, 2, width, color, dash);
}

void lm_canvas_area(lm_canvas *canvas, const double *x, const double *y, size_t n, uint32_t color, double opacity)
{
    mark *m = n < 3 ? NULL : add_points(canvas, MARK_AREA, color, x, y, n);
    if (m) m->opacity = opacity;
}

void lm_canvas_rectangle(lm_canvas *canvas, double x, double y, double width, double height, uint32_t color)
{
    lm_canvas_area(canvas, (double[]){x, x + width, x + width, x}, (double[]){y, y, y + height, y + height}, 4, color,
                   1);
}

void lm_canvas_frame(lm_canvas *canvas, double x, double y, double width, double height, double line, uint32_t color)
{
    lm_canvas_line(canvas, (double[]){x, x + width, x + width, x, x}, (double[]){y, y, y + height, y + height, y}, 5,
                   line, color, 0);
}

void lm_canvas_disc(lm_canvas *canvas, double x, double y, double radius, uint32_t color)
{
    enum { CORNERS = 24 };
    double px[CORNERS], py[CORNERS];
    for (int i = 0; i < CORNERS; i++) {
        px[i] = x + radius * cos(2 * M_PI * i / CORNERS);
        py[i] = y + radius * sin(2 * M_PI * i / CORNERS);
    }
    lm_canvas_area(canvas, px, py, CORNERS, color, 1);
}

void lm_canvas_image(lm_canvas *canvas, double x, double y, double width, double height, const uint8_t *rgb,
                     size_t columns, size_t rows)
{
    if (!columns || !rows) return;
    mark *m = add(canvas, MARK_IMAGE, 0);
    if (!m) return;
    m->rgb = lm_alloc_raw(3 * columns * rows);
    if (!m->rgb) {
        canvas->failed = true;
        return;
    }
    memcpy(m->rgb, rgb, 3 * columns * rows);
    m->x = x, m->y = y, m->width = width, m->height = height;
    m->columns = columns, m->rows = rows;
}

void lm_canvas_clip(lm_canvas *canvas, double x, double y, double width, double height)
{
    mark *m = add(canvas, MARK_CLIP, 0);
    if (m) m->x = x, m->y = y, m->width = width, m->height = height;
}

/* ---- text ----------------------------------------------------------------------------------------------------- */

/* Advance widths of DejaVu Sans from space to "~", in thousandths of the size. */
static const short widths[95] = {318,  401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337,
                                 636,  636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531,
                                 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787,
                                 603,  787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500,
                                 500,  613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
                                 635,  635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838};

/* Bytes of the UTF-8 character that begins here; 0 if it is none. */
static size_t utf8_length(const unsigned char *c)
{
    size_t n = c[0] < 0x80 ? 1 : c[0] >= 0xC2 && c[0] < 0xE0 ? 2 : c[0] >= 0xE0 && c[0] < 0xF0 ? 3 : 4;
    if (n == 4 && !(c[0] >= 0xF0 && c[0] < 0xF5)) return 0;
    for (size_t i = 1; i < n; i++)
        if ((c[i] & 0xC0) != 0x80) return 0;
    if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] > 0x9F)) return 0; /* overlong, surrogates */
    if ((c[0] == 0xF0 && c[1] < 0x90) || (c[0] == 0xF4 && c[1] > 0x8F)) return 0;
    return n;
}

double lm_canvas_text_width(const char *text, double size)
{
    double sum = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if ((*c & 0xC0) != 0x80) sum += *c >= 32 && *c < 127 ? widths[*c - 32] : 636;
    return sum / 1000 * size;
}

void lm_canvas_text_within(lm_canvas *canvas, double x, double y, double width, lm_font font, const char *text)
{
    double most = width > 0 ? width : HUGE_VAL, used = 0;
    if (font.bold) most /= 1.12; /* bold letters are that much wider */
    bool cut = lm_canvas_text_width(text, font.size) > most;
    if (cut) most -= font.size; /* for the ellipsis */
    lm_text out;
    lm_text_init(&out);
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        size_t n = utf8_length(c);
        char one[8] = {n ? (char)*c : '?'};
        if (n > 1) memcpy(one, c, n);
        if (n == 1 && (*c < 32 || *c == 127)) one[0] = ' ';
        used += lm_canvas_text_width(one, font.size);
        if (used > most || out.length > LONGEST_TEXT) {
            cut = true;
            break;
        }
        lm_text_add(&out, one);
        c += n ? n : 1;
    }
    if (cut) lm_text_add(&out, "…");
    mark *m = out.length && !out.failed ? add(canvas, MARK_TEXT, font.color) : NULL;
    if (m) {
        m->x = x, m->y = y, m->size = font.size, m->align = font.align, m->bold = font.bold, m->upwards = font.upwards;
        m->text = lm_text_take(&out);
    }
    canvas->failed |= out.failed;
    lm_text_done(&out);
}

void lm_canvas_text(lm_canvas *canvas, double x, double y, lm_font font, const char *text)
{
    lm_canvas_text_within(canvas, x, y, 0, font, text);
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

lm_status lm_format_of_path(const char *path, lm_format *ret, lm_error *err)
{
    const char *dot = strrchr(path, '.');
    if (dot && strcasecmp(dot, ".png") == 0) {
        *ret = LM_FORMAT_PNG;
    } else if (dot && strcasecmp(dot, ".svg") == 0) {
        *ret = LM_FORMAT_SVG;
    } else {
        return LM_FAIL_HINT(err, LM_EGRAPH, "Give the file a name that ends in \".png\" or \".svg\".",
                            "a picture cannot be written as \"%s\"", path);
    }
    return LM_OK;
}

lm_status lm_canvas_encode(lm_canvas *canvas, lm_format format, lm_text *ret, lm_error *err)
{
    if (canvas->failed) return LM_NOMEM(err);
    return format == LM_FORMAT_SVG ? lm_canvas_svg(canvas, ret, err) : lm_canvas_png(canvas, ret, err);
}

lm_status lm_canvas_write(lm_canvas *canvas, lm_format format, const char *path, lm_error *err)
{
    lm_text bytes;
    lm_text_init(&bytes);
    lm_status status = lm_canvas_encode(canvas, format, &bytes, err);
    FILE *file = status ? NULL : fopen(path, "wb");
    if (!status && !file) status = LM_FAIL(err, LM_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    if (file) {
        bool wrote = fwrite(lm_text_peek(&bytes), 1, bytes.length, file) == bytes.length;
        if (fclose(file) || !wrote) status = LM_FAIL(err, LM_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    }
    lm_text_done(&bytes);
    return status;
}
