#include "operators/plot/_chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Pixels on the page. */
enum { LEFT = 78, RIGHT = 22, TOP = 20, BOTTOM = 58, TITLE = 34, SIDE = 400, WIDE = 520, TALL = 360, LEGEND_LINE = 19 };

/* Okabe & Ito (2008): apart for all kinds of colour vision. Black is the reference line's. */
static const uint32_t palette[] = {0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x7F7F7F};
enum { N_PALETTE = sizeof palette / sizeof *palette };
static const uint32_t band_color = 0xE3E6EA;

typedef struct axis {
    double low, high; /* on a logarithmic axis: of log10 */
    bool logarithmic;
    double from, to; /* pixels */
} axis;

static double scaled(const axis *a, double value)
{
    return a->logarithmic ? (value > 0 ? log10(value) : (double)NAN) : value;
}

static double place(const axis *a, double value)
{
    return a->from + (scaled(a, value) - a->low) / (a->high - a->low) * (a->to - a->from);
}

static void widen(axis *a, double value)
{
    double v = scaled(a, value);
    if (!isfinite(v)) return;
    a->low = fmin(a->low, v);
    a->high = fmax(a->high, v);
}

/* After all values are in: a range that is not empty, with room about what it holds. */
static void settle(axis *a, double room)
{
    if (!(a->low <= a->high)) a->low = 0, a->high = 1; /* nothing to show */
    if (a->low == a->high) {
        double half = a->logarithmic || a->low == 0 ? 0.5 : fabs(a->low) * 0.1;
        a->low -= half, a->high += half;
    }
    double more = room * (a->high - a->low);
    a->low -= more, a->high += more;
}

size_t lm_chart_ticks(double low, double high, bool logarithmic, double ret[16])
{
    size_t n = 0;
    if (!(high > low) || !isfinite(high - low)) return 0;
    if (logarithmic && high - low >= 1.5) { /* low and high are powers */
        double step = ceil((high - low) / 8);
        for (double p = ceil(low / step - 1e-9) * step; p <= high + 1e-9 && n < 16; p += step) ret[n++] = pow(10, p);
        return n;
    }
    if (logarithmic) {
        static const double parts[] = {1, 2, 5};
        for (double p = floor(low); p <= high && n < 14; p++)
            for (int i = 0; i < 3; i++) {
                double v = parts[i] * pow(10, p), l = log10(v);
                if (l >= low - 1e-9 && l <= high + 1e-9) ret[n++] = v;
            }
        if (n >= 2) return n;
        low = pow(10, low), high = pow(10, high); /* less than a step of those: ticks as on a linear axis */
        n = 0;
    }
    double rough = (high - low) / 6, power = pow(10, floor(log10(rough))), part = rough / power;
    double step = power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
    for (double k = ceil(low / step - 1e-6); k * step <= high + 1e-6 * step && n < 16; k++) ret[n++] = k * step;
    return n;
}

void lm_chart_tick_text(double value, double step, bool logarithmic, char ret[32])
{
    const char *sign = value < 0 ? "−" : "";
    double size = fabs(value);
    if (logarithmic && (size >= 1e4 || size <= 1e-3)) {
        static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
        int power = (int)floor(log10(size) + 1e-9);
        double lead = size / pow(10, power);
        int n = fabs(lead - 1) < 1e-6 ? snprintf(ret, 32, "10%s", power < 0 ? "⁻" : "")
                                      : snprintf(ret, 32, "%.3g·10%s", lead, power < 0 ? "⁻" : "");
        int rest = power < 0 ? -power : power;
        for (int unit = rest >= 100 ? 100 : rest >= 10 ? 10 : 1; unit; unit /= 10)
            n += snprintf(ret + n, 32 - (size_t)n, "%s", raised[rest / unit % 10]);
        return;
    }
    if (logarithmic) {
        snprintf(ret, 32, "%s%.6g", sign, size);
        return;
    }
    int decimals = step > 0 ? (int)-floor(log10(step) + 1e-9) : 0;
    if (size < 1e-9 * step) size = 0, sign = "";
    if (decimals > 4 || size >= 1e6) snprintf(ret, 32, "%s%.4g", sign, size);
    else snprintf(ret, 32, "%s%.*f", sign, decimals > 0 ? decimals : 0, size);
}

/* Short ticks at 2, 3, ... 9 times the powers of ten, unless they would stand too close. */
static void draw_minor_ticks(lm_canvas *canvas, const axis *a, const axis *other, bool vertical)
{
    if (!a->logarithmic || a->high - a->low > 8) return;
    for (double p = floor(a->low); p <= a->high; p++)
        for (int i = 2; i < 10; i++) {
            double value = i * pow(10, p), at = place(a, value);
            if (log10(value) < a->low || log10(value) > a->high) continue;
            for (int side = 0; side < 2; side++) {
                double edge = side ? other->to : other->from, inward = side == vertical ? -3 : 3, end = edge + inward;
                if (vertical) lm_canvas_segment(canvas, edge, at, end, at, 0.8, LM_INK, 0);
                else lm_canvas_segment(canvas, at, edge, at, end, 0.8, LM_INK, 0);
            }
        }
}

static void draw_axes(lm_canvas *canvas, const axis *x, const axis *y, const lm_chart *chart)
{
    const lm_font font = {.size = 13, .color = LM_INK, .align = 0.5};
    draw_minor_ticks(canvas, x, y, false);
    draw_minor_ticks(canvas, y, x, true);
    double ticks[16];
    size_t n = lm_chart_ticks(x->low, x->high, x->logarithmic, ticks);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        double at = place(x, ticks[i]);
        lm_chart_tick_text(ticks[i], n > 1 ? ticks[1] - ticks[0] : 0, x->logarithmic, text);
        lm_canvas_segment(canvas, at, y->from, at, y->from - 6, 1, LM_INK, 0);
        lm_canvas_segment(canvas, at, y->to, at, y->to + 6, 1, LM_INK, 0);
        lm_canvas_text(canvas, at, y->from + 14, font, text);
    }
    n = lm_chart_ticks(y->low, y->high, y->logarithmic, ticks);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        double at = place(y, ticks[i]);
        lm_chart_tick_text(ticks[i], n > 1 ? ticks[1] - ticks[0] : 0, y->logarithmic, text);
        lm_canvas_segment(canvas, x->from, at, x->from + 6, at, 1, LM_INK, 0);
        lm_canvas_segment(canvas, x->to, at, x->to - 6, at, 1, LM_INK, 0);
        lm_canvas_text(canvas, x->from - 8, at, (lm_font){.size = 13, .color = LM_INK, .align = 1}, text);
    }
    lm_canvas_frame(canvas, x->from, y->to, x->to - x->from, y->from - y->to, 1, LM_INK);
    double room = x->to - x->from;
    if (chart->x_label)
        lm_canvas_text_within(canvas, (x->from + x->to) / 2, y->from + 38, room,
                              (lm_font){.size = 14, .color = LM_INK, .align = 0.5}, chart->x_label);
    if (chart->y_label)
        lm_canvas_text_within(canvas, x->from - 58, (y->from + y->to) / 2, y->from - y->to,
                              (lm_font){.size = 14, .color = LM_INK, .align = 0.5, .upwards = true}, chart->y_label);
}

/* The area between y = x - w and y = x + w in the unit square. */
static void draw_diagonal_band(lm_canvas *canvas, const axis *x, const axis *y, double w)
{
    w = fmin(w, 1);
    const double cx[] = {0, 0, 1 - w, 1, 1, w}, cy[] = {0, w, 1, 1, 1 - w, 0};
    double px[6], py[6];
    for (int i = 0; i < 6; i++) px[i] = place(x, cx[i]), py[i] = place(y, cy[i]);
    lm_canvas_area(canvas, px, py, 6, band_color, 1);
}

static bool shown(const axis *x, const axis *y, double a, double b)
{
    return isfinite(scaled(x, a)) && isfinite(scaled(y, b));
}

/* The runs of points without gaps, each as an area between low and high. px, py: room for 4 n. */
static void draw_band(lm_canvas *canvas, const axis *x, const axis *y, const lm_curve *c, uint32_t color, double *px,
                      double *py)
{
    for (size_t i = 0; i < c->n;) {
        size_t n = 0;
        while (i + n < c->n && shown(x, y, c->x[i + n], c->low[i + n]) && shown(x, y, c->x[i + n], c->high[i + n])) n++;
        for (size_t k = 0; k < n; k++) {
            px[k] = px[2 * n - 1 - k] = place(x, c->x[i + k]);
            py[k] = place(y, c->low[i + k]);
            py[2 * n - 1 - k] = place(y, c->high[i + k]);
        }
        if (n > 1) lm_canvas_area(canvas, px, py, 2 * n, color, 0.2);
        i += n + 1;
    }
}

static void draw_curve(lm_canvas *canvas, const axis *x, const axis *y, const lm_curve *c, lm_chart_mark kind,
                       uint32_t color, double *px, double *py)
{
    for (size_t i = 0; i < c->n;) {
        size_t n = 0, m = 0;
        while (i + n < c->n && shown(x, y, c->x[i + n], c->y[i + n])) n++;
        for (size_t k = 0; k < n; k++) {
            double a = place(x, c->x[i + k]), b = place(y, c->y[i + k]);
            if (kind == LM_CHART_STEP && k) px[m] = a, py[m] = py[m - 1], m++;
            px[m] = a, py[m] = b, m++;
            if (kind == LM_CHART_POINTS || n == 1) lm_canvas_disc(canvas, a, b, 3, color);
        }
        if (kind != LM_CHART_POINTS) lm_canvas_line(canvas, px, py, m, 2, color, 0);
        i += n + 1;
    }
}

/* How many points lie under a box: the legend goes to the corner that has fewest. */
static size_t points_in(const lm_chart *chart, const axis *x, const axis *y, double left, double top, double w,
                        double h)
{
    size_t n = 0;
    for (size_t c = 0; c < chart->n_curves; c++)
        for (size_t i = 0; i < chart->curves[c].n; i++) {
            double a = place(x, chart->curves[c].x[i]), b = place(y, chart->curves[c].y[i]);
            n += a > left - 6 && a < left + w + 6 && b > top - 6 && b < top + h + 6;
        }
    return n;
}

static void draw_legend(lm_canvas *canvas, const lm_chart *chart, const axis *x, const axis *y, bool ideal)
{
    enum { MOST = 10, SAMPLE = 24, PAD = 10 };
    size_t names = chart->n_curves > MOST ? MOST : chart->n_curves, lines = names + (chart->n_curves > MOST);
    if (chart->n_curves == 1 && !chart->band_label && !chart->diagonal_label && !ideal)
        return; /* one curve alone needs no name */
    if (chart->band_label) lines++;
    if (chart->diagonal_label) lines++;
    if (ideal) lines++;
    double width = 0, most = 0.6 * (x->to - x->from);
    for (size_t i = 0; i < names; i++) width = fmax(width, lm_canvas_text_width(chart->curves[i].name, 12));
    if (chart->band_label) width = fmax(width, lm_canvas_text_width(chart->band_label, 12));
    if (chart->diagonal_label) width = fmax(width, lm_canvas_text_width(chart->diagonal_label, 12));
    if (ideal) width = fmax(width, lm_canvas_text_width("y = x", 12));
    if (lines > names + (chart->band_label != NULL) + ideal)
        width = fmax(width, lm_canvas_text_width("and 9999 more", 12));
    width = fmin(width, most);
    double w = width + SAMPLE + 8 + 4, h = (double)lines * LEGEND_LINE;
    size_t fewest = SIZE_MAX;
    double left = 0, top = 0;
    for (int corner = 0; corner < 4; corner++) { /* upper left, lower right, upper right, lower left */
        double l = corner == 0 || corner == 3 ? x->from + PAD : x->to - PAD - w;
        double t = corner == 0 || corner == 2 ? y->to + PAD : y->from - PAD - h;
        size_t n = points_in(chart, x, y, l, t, w, h);
        if (n < fewest) fewest = n, left = l, top = t;
    }
    const lm_font font = {.size = 12, .color = LM_INK};
    double line = top + LEGEND_LINE / 2.0, words = left + SAMPLE + 8;
    for (size_t i = 0; i < names; i++, line += LEGEND_LINE) {
        uint32_t color = palette[i % N_PALETTE];
        if (chart->mark == LM_CHART_POINTS) lm_canvas_disc(canvas, left + SAMPLE / 2.0, line, 3, color);
        else lm_canvas_segment(canvas, left, line, left + SAMPLE, line, 2, color, 0);
        lm_canvas_text_within(canvas, words, line, width + 4, font, chart->curves[i].name);
    }
    if (chart->n_curves > MOST) {
        char text[48];
        snprintf(text, sizeof text, "and %zu more", chart->n_curves - MOST);
        lm_canvas_text(canvas, words, line, font, text);
        line += LEGEND_LINE;
    }
    if (ideal) {
        lm_canvas_segment(canvas, left, line, left + SAMPLE, line, 1.2, 0, 5);
        lm_canvas_text(canvas, words, line, font, "y = x");
        line += LEGEND_LINE;
    }
    if (chart->diagonal_label) {
        lm_canvas_rectangle(canvas, left, line - 6, SAMPLE, 12, band_color);
        lm_canvas_text_within(canvas, words, line, width + 4, font, chart->diagonal_label);
        line += LEGEND_LINE;
    }
    if (chart->band_label) { /* in the colour of the first curve */
        lm_canvas_rectangle(canvas, left, line - 6, SAMPLE, 12, 0xCCE3F0);
        lm_canvas_text_within(canvas, words, line, width + 4, font, chart->band_label);
    }
}

lm_status lm_chart_draw(const lm_chart *chart, lm_canvas **ret, lm_error *err)
{
    axis x = {.low = HUGE_VAL, .high = -HUGE_VAL, .logarithmic = chart->log_x}, y = x;
    y.logarithmic = chart->log_y;
    size_t longest = 0, points = 0;
    for (size_t c = 0; c < chart->n_curves; c++) {
        const lm_curve *curve = &chart->curves[c];
        if (curve->n > longest) longest = curve->n;
        for (size_t i = 0; i < curve->n; i++) {
            if (!shown(&x, &y, curve->x[i], curve->y[i])) continue;
            points++;
            widen(&x, curve->x[i]);
            widen(&y, curve->y[i]);
            if (curve->low) widen(&y, curve->low[i]);
            if (curve->high) widen(&y, curve->high[i]);
        }
    }
    bool square = chart->diagonal && chart->log_x == chart->log_y;
    bool unit = square && !chart->log_x && fmin(x.low, y.low) >= -1e-6 && fmax(x.high, y.high) <= 1 + 1e-6;
    if (square) x.low = y.low = fmin(x.low, y.low), x.high = y.high = fmax(x.high, y.high);
    if (unit || (square && !points && !chart->log_x)) x.low = y.low = 0, x.high = y.high = 1;
    settle(&x, unit ? 0 : 0.03);
    settle(&y, unit ? 0 : square ? 0.03 : 0.06);

    bool title = chart->title && *chart->title;
    double wide = square ? SIDE : WIDE, tall = square ? SIDE : TALL, top = title ? TITLE + 6 : TOP;
    x.from = LEFT, x.to = LEFT + wide;
    y.to = top, y.from = top + tall;
    LM_OWN(lm_canvas) canvas = lm_canvas_new(LEFT + wide + RIGHT, top + tall + BOTTOM, 2);
    LM_OWN(lm_memory) room = lm_alloc(4 * (longest + 1), sizeof(double));
    if (!canvas || !room) return LM_NOMEM(err);
    double *px = room, *py = px + 2 * (longest + 1);

    lm_canvas_clip(canvas, x.from, y.to, wide, tall);
    if (square && chart->half_width > 0) draw_diagonal_band(canvas, &x, &y, chart->half_width);
    for (size_t c = 0; c < chart->n_curves; c++)
        if (chart->curves[c].low && chart->curves[c].high)
            draw_band(canvas, &x, &y, &chart->curves[c], palette[c % N_PALETTE], px, py);
    if (square) lm_canvas_segment(canvas, x.from, y.from, x.to, y.to, 1.2, 0, 6);
    for (size_t c = 0; c < chart->n_curves; c++)
        draw_curve(canvas, &x, &y, &chart->curves[c], chart->mark, palette[c % N_PALETTE], px, py);
    lm_canvas_clip(canvas, 0, 0, 0, 0);
    draw_axes(canvas, &x, &y, chart);
    if (points) draw_legend(canvas, chart, &x, &y, square);
    else
        lm_canvas_text(canvas, (x.from + x.to) / 2, (y.from + y.to) / 2,
                       (lm_font){.size = 14, .color = LM_FAINT, .align = 0.5}, "nothing to show");
    if (title)
        lm_canvas_text_within(canvas, x.from, TITLE / 2.0 + 2, wide, (lm_font){.size = 16, .color = LM_INK},
                              chart->title);
    *ret = lm_take(canvas);
    return LM_OK;
}
