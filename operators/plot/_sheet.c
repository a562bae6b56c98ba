#include "operators/plot/_sheet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Pixels on the page. */
enum {
    MARGIN = 16,
    GAP = 3,         /* between the panels of a record */
    BAR_GAP = 10,    /* the same, where colour bars have numbers */
    RECORD_GAP = 14, /* between records side by side */
    ROW_GAP = 8,     /* between rows of records */
    LABEL = 18,      /* the line with a record's id */
    HEADING = 24,    /* the line with the names of the panels */
    TITLE = 34,
    BAR = 10,       /* a colour bar, with its numbers below */
    BAR_LINE = 36,  /* what it takes in all */
    BAR_FROM = 150, /* panels narrower than this have none */
    WIDTH = 1760,   /* of a sheet, where the panels may choose */
    THUMB_LEAST = 48,
    THUMB_MOST = 360,
};

struct lm_sheet {
    const lm_sheet_style *style;
    lm_canvas *canvas;
    size_t n, added, columns;
    double thumb, height, gap; /* of a panel, and between two */
    double left, top;          /* of the first record's label */
    double pitch_x, pitch_y;
    double *values, *scratch, *shades; /* of one image; `room` numbers each */
    size_t room;
    uint8_t *rgb;
};

/* An image is what has two axes, once leading axes of length one are dropped. */
static bool image_shape(const lm_tensor *tensor, size_t *height, size_t *width)
{
    if (!tensor || tensor->ndim < 2) return false;
    for (unsigned i = 0; i + 2 < tensor->ndim; i++)
        if (tensor->shape[i] != 1) return false;
    *height = tensor->shape[tensor->ndim - 2];
    *width = tensor->shape[tensor->ndim - 1];
    return *height > 0 && *width > 0;
}

static bool named(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

/* Height over width of a panel: that of the first image that there is, within reason. */
static double aspect(const lm_sheet_style *style, const lm_record *first)
{
    size_t h, w;
    for (size_t i = 0; first && i < style->n_tensors; i++)
        if (image_shape(lm_record_tensor(first, style->tensors[i]), &h, &w))
            return fmin(fmax((double)h / (double)w, 0.25), 3);
    return 1;
}

/* The title, and what the sheet does not show. False if there is nothing to say. */
static bool title_text(char *to, size_t room, const char *title, size_t n, size_t of, size_t missing)
{
    char left_out[80] = "", failed[80] = "";
    if (n < of) snprintf(left_out, sizeof left_out, "%zu of %zu records", n, of);
    if (missing) snprintf(failed, sizeof failed, "%s%zu failed before", *left_out ? ", " : "", missing);
    if (!title) title = "";
    bool notes = *left_out || *failed;
    snprintf(to, room, "%.300s%s%s%s", title, *title && notes ? " — " : "", left_out, failed);
    return *to;
}

lm_status lm_sheet_new(const lm_sheet_style *style, size_t n, size_t of, size_t missing, const lm_record *first,
                       lm_sheet **ret, lm_error *err)
{
    LM_OWN(lm_sheet) sheet = lm_alloc(1, sizeof *sheet);
    if (!sheet) return LM_NOMEM(err);
    size_t panels = style->n_tensors;
    sheet->style = style;
    sheet->n = n;
    sheet->columns = n < style->columns ? n : style->columns;
    if (sheet->columns < 1) sheet->columns = 1;
    double across = (double)(sheet->columns * panels);
    double free_width = WIDTH - 2 * MARGIN - GAP * across - RECORD_GAP * (double)(sheet->columns - 1);
    double thumb = style->thumb ? (double)style->thumb : floor(free_width / across);
    if (!style->thumb) thumb = fmin(fmax(thumb, THUMB_LEAST), THUMB_MOST);
    sheet->thumb = thumb;
    sheet->height = round(thumb * aspect(style, first));
    sheet->gap = thumb >= BAR_FROM ? BAR_GAP : GAP;
    double strip = (double)panels * (thumb + sheet->gap) - sheet->gap;
    size_t rows = (n + sheet->columns - 1) / sheet->columns;
    sheet->pitch_x = strip + RECORD_GAP;
    sheet->pitch_y = LABEL + sheet->height + ROW_GAP + (thumb >= BAR_FROM ? BAR_LINE : 0);
    char words[512];
    bool title = title_text(words, sizeof words, style->title, n, of, missing);
    sheet->left = MARGIN;
    sheet->top = MARGIN + (title ? TITLE : 0) + HEADING;
    double width = 2 * MARGIN + (double)sheet->columns * sheet->pitch_x - RECORD_GAP;
    double height = sheet->top + (double)rows * sheet->pitch_y - (rows ? ROW_GAP : 0) + MARGIN;
    if (n == 0) width = fmax(width, 420), height += 80;
    sheet->canvas = lm_canvas_new(width, height, 1);
    if (!sheet->canvas) return LM_NOMEM(err);

    if (title)
        lm_canvas_text_within(sheet->canvas, MARGIN, MARGIN + 10, width - 2 * MARGIN,
                              (lm_font){.size = 18, .color = LM_INK}, words);
    for (size_t c = 0; c < sheet->columns && n; c++)
        for (size_t t = 0; t < panels; t++)
            lm_canvas_text_within(
                sheet->canvas, sheet->left + (double)c * sheet->pitch_x + (double)t * (thumb + sheet->gap) + thumb / 2,
                sheet->top - HEADING / 2.0 - 3, thumb, (lm_font){.size = 12, .color = LM_FAINT, .align = 0.5},
                style->tensors[t]);
    if (n == 0)
        lm_canvas_text(sheet->canvas, width / 2, height / 2, (lm_font){.size = 15, .color = LM_FAINT, .align = 0.5},
                       "no records");
    *ret = lm_take(sheet);
    return LM_OK;
}

lm_sheet *lm_sheet_free(lm_sheet *sheet)
{
    if (!sheet) return NULL;
    lm_canvas_free(sheet->canvas);
    lm_free(sheet->values);
    lm_free(sheet->scratch);
    lm_free(sheet->shades);
    lm_free(sheet->rgb);
    return lm_free(sheet);
}

lm_canvas *lm_sheet_canvas(lm_sheet *sheet)
{
    return sheet->canvas;
}

void lm_sheet_panel(const lm_sheet *sheet, size_t i, size_t tensor, double ret[4])
{
    ret[0] = sheet->left + (double)(i % sheet->columns) * sheet->pitch_x + (double)tensor * (sheet->thumb + sheet->gap);
    ret[1] = sheet->top + (double)(i / sheet->columns) * sheet->pitch_y + LABEL;
    ret[2] = sheet->thumb;
    ret[3] = sheet->height;
}

/* Room for n numbers in values and scratch, and for the dots of a panel. */
static lm_status make_room(lm_sheet *sheet, size_t n, lm_error *err)
{
    size_t dots = (size_t)sheet->thumb * (size_t)sheet->height;
    if (!sheet->rgb) sheet->rgb = lm_alloc_raw(3 * dots + 1);
    if (!sheet->shades) sheet->shades = lm_alloc_raw((dots + 1) * sizeof(double));
    if (n > sheet->room || !sheet->values) {
        sheet->values = lm_free(sheet->values);
        sheet->scratch = lm_free(sheet->scratch);
        sheet->room = 0;
        sheet->values = lm_alloc(n + 1, sizeof(double));
        sheet->scratch = lm_alloc(n + 1, sizeof(double));
        if (sheet->values && sheet->scratch) sheet->room = n;
    }
    return sheet->rgb && sheet->shades && sheet->values && sheet->scratch ? LM_OK : LM_NOMEM(err);
}

/* How an image of h x w pixels comes to rows x columns dots: the mean of the finite pixels under each dot, or the one pixel
 * there is. Row 0 of the image is the last row of dots. */
static void resample(const double *image, size_t h, size_t w, double *dots, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++) {
        size_t up = rows - 1 - r, y0 = up * h / rows, y1 = (up + 1) * h / rows;
        if (y1 <= y0) y1 = y0 + 1;
        for (size_t c = 0; c < columns; c++) {
            size_t x0 = c * w / columns, x1 = (c + 1) * w / columns, n = 0;
            if (x1 <= x0) x1 = x0 + 1;
            double sum = 0;
            for (size_t y = y0; y < y1; y++)
                for (size_t x = x0; x < x1; x++)
                    if (!isnan(image[y * w + x])) sum += image[y * w + x], n++;
            dots[r * columns + c] = n ? sum / (double)n : (double)NAN;
        }
    }
}

/* A number for people: three digits, and a minus sign as wide as a plus. */
static void short_number(char buffer[32], double value)
{
    snprintf(buffer, 32, "%s%.3g", value < 0 ? "−" : "", fabs(value));
}

static void color_bar(lm_sheet *sheet, const double box[4], lm_stretch stretch, lm_limits limits, lm_colormap map,
                      const char *unit)
{
    double y = box[1] + box[3] + 5;
    size_t n = (size_t)box[2];
    for (size_t i = 0; i < n; i++) {
        uint32_t color = lm_colormap_rgb(map, (double)i / (double)(n - 1));
        sheet->rgb[3 * i] = (uint8_t)(color >> 16);
        sheet->rgb[3 * i + 1] = (uint8_t)(color >> 8);
        sheet->rgb[3 * i + 2] = (uint8_t)color;
    }
    lm_canvas_image(sheet->canvas, box[0], y, box[2], BAR, sheet->rgb, n, 1);
    lm_canvas_frame(sheet->canvas, box[0] + 0.5, y + 0.5, box[2] - 1, BAR - 1, 0.6, LM_FAINT);
    double room = box[2] / 3;
    for (int i = 0; i < 3; i++) {
        double at = i / 2.0;
        char text[32];
        short_number(text, lm_stretch_value(stretch, limits, at));
        lm_canvas_text_within(sheet->canvas, box[0] + at * box[2], y + BAR + 9, room,
                              (lm_font){.size = 11, .color = LM_INK, .align = at}, text);
    }
    if (unit && *unit)
        lm_canvas_text_within(sheet->canvas, box[0] + box[2], y + BAR + 21, box[2],
                              (lm_font){.size = 10, .color = LM_FAINT, .align = 1}, unit);
}

static void empty_panel(lm_sheet *sheet, const double box[4], const char *why)
{
    lm_canvas_rectangle(sheet->canvas, box[0], box[1], box[2], box[3], 0xF4F4F4);
    lm_canvas_text_within(sheet->canvas, box[0] + box[2] / 2, box[1] + box[3] / 2, box[2] - 6,
                          (lm_font){.size = 11, .color = LM_FAINT, .align = 0.5}, why);
}

/* The limits that the tensors of `share` have in common: those of the first that is an image. */
static bool shared_limits(lm_sheet *sheet, const lm_record *record, lm_limits *ret, lm_status *status, lm_error *err)
{
    const lm_sheet_style *style = sheet->style;
    *status = LM_OK;
    for (size_t i = 0; i < style->n_share; i++) {
        const lm_tensor *tensor = lm_record_tensor(record, style->share[i]);
        size_t h, w;
        if (!named(style->share[i], style->tensors, style->n_tensors) || !image_shape(tensor, &h, &w)) continue;
        *status = make_room(sheet, h * w, err);
        if (*status) return false;
        lm_tensor_to_f64(tensor, sheet->values);
        if (lm_limits_percentile(sheet->values, h * w, style->clip_low, style->clip_high, sheet->scratch, ret))
            return true;
    }
    return false;
}

static lm_status draw_panel(lm_sheet *sheet, const lm_record *record, const char *name, const double box[4],
                            const lm_limits *shared, lm_error *err)
{
    const lm_sheet_style *style = sheet->style;
    const lm_tensor *tensor = lm_record_tensor(record, name);
    size_t h, w;
    if (!image_shape(tensor, &h, &w)) {
        char why[256], shape[192];
        if (tensor) snprintf(why, sizeof why, "%s: %s", name, lm_tensor_shape_text(shape, tensor));
        else snprintf(why, sizeof why, "no %s", name);
        empty_panel(sheet, box, why);
        return LM_OK;
    }
    LM_TRY(make_room(sheet, h * w, err));
    lm_tensor_to_f64(tensor, sheet->values);
    bool about_zero = named(name, style->signed_tensors, style->n_signed), finite = true;
    lm_stretch stretch = about_zero ? LM_STRETCH_LINEAR : style->stretch;
    lm_colormap map = about_zero ? style->diverging : style->colormap;
    lm_limits limits;
    if (about_zero) finite = lm_limits_symmetric(sheet->values, h * w, style->clip_high, sheet->scratch, &limits);
    else if (shared && named(name, style->share, style->n_share)) limits = *shared;
    else
        finite = lm_limits_percentile(sheet->values, h * w, style->clip_low, style->clip_high, sheet->scratch, &limits);

    double scale = fmin(box[2] / (double)w, box[3] / (double)h);
    size_t columns = (size_t)fmax(1, fmin(box[2], round(scale * (double)w)));
    size_t rows = (size_t)fmax(1, fmin(box[3], round(scale * (double)h)));
    resample(sheet->values, h, w, sheet->shades, rows, columns);
    for (size_t i = 0; i < rows * columns; i++) {
        uint32_t color = lm_colormap_rgb(map, lm_stretch_shade(stretch, limits, sheet->shades[i]));
        sheet->rgb[3 * i] = (uint8_t)(color >> 16);
        sheet->rgb[3 * i + 1] = (uint8_t)(color >> 8);
        sheet->rgb[3 * i + 2] = (uint8_t)color;
    }
    double left = box[0] + floor((box[2] - (double)columns) / 2), top = box[1] + floor((box[3] - (double)rows) / 2);
    if ((double)columns < box[2] || (double)rows < box[3])
        lm_canvas_rectangle(sheet->canvas, box[0], box[1], box[2], box[3], 0xF4F4F4);
    lm_canvas_image(sheet->canvas, left, top, (double)columns, (double)rows, sheet->rgb, columns, rows);
    if (!finite)
        lm_canvas_text_within(sheet->canvas, box[0] + box[2] / 2, box[1] + box[3] / 2, box[2] - 6,
                              (lm_font){.size = 11, .color = LM_PAPER, .align = 0.5}, "no finite pixel");
    else if (box[2] >= BAR_FROM) color_bar(sheet, box, stretch, limits, map, tensor->unit);
    return LM_OK;
}

lm_status lm_sheet_add(lm_sheet *sheet, const lm_record *record, lm_error *err)
{
    if (sheet->added == sheet->n) return LM_FAIL(err, LM_EBUG, "a sheet of %zu records was given more", sheet->n);
    double box[4];
    lm_sheet_panel(sheet, sheet->added, 0, box);
    lm_canvas_text_within(sheet->canvas, box[0], box[1] - LABEL / 2.0, sheet->pitch_x - RECORD_GAP,
                          (lm_font){.size = 12, .color = LM_INK, .bold = true}, lm_record_id(record));
    lm_limits limits;
    lm_status status;
    bool shared = shared_limits(sheet, record, &limits, &status, err);
    if (status) return status;
    for (size_t t = 0; t < sheet->style->n_tensors; t++) {
        lm_sheet_panel(sheet, sheet->added, t, box);
        LM_TRY(draw_panel(sheet, record, sheet->style->tensors[t], box, shared ? &limits : NULL, err));
    }
    sheet->added++;
    return LM_OK;
}

lm_status lm_sheet_write(lm_sheet *sheet, lm_format format, const char *path, lm_error *err)
{
    return lm_canvas_write(sheet->canvas, format, path, err);
}
