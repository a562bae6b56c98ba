/* The layout and drawing of corner plots. See _corner.h. */
#include "operators/plot/_corner.h"

#include "operators/plot/_chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Pixels on the page. */
enum { GAP = 6, EDGE = 12, TICK = 4, TICK_FONT = 11, LABEL_FONT = 14, TITLE_FONT = 12, HEAD = 30, MOST_TICKS = 6 };
static const double dots = 2; /* of a pixel, in images */

/* Blues that stay apart in grey; the truth in vermilion (Okabe & Ito 2008). */
static const uint32_t fills[] = {0xDCE9F5, 0xA9CBE6, 0x6BA3D3, 0x3B7DBB, 0x1F5C9E, 0x0F3D75};
static const uint32_t contour_color = 0x17456F, truth_color = 0xD55E00, bar_color = 0xC9DDEF;
enum { PALETTE = sizeof fills / sizeof *fills };

/* ---- axes ------------------------------------------------------------------------------------------------------- */

/* A parameter's axis: values from low to high. What its ticks tell is (value - offset) / unit. */
typedef struct {
    double low, high, offset, unit;
    double least, largest;       /* of the draws */
    double width;                /* half of what the middle 68 % cover */
    double spread;               /* a standard deviation of the narrowest part; 0: the values are all the same */
    double median, lower, upper; /* and the 16th and 84th percentile */
    double tick[MOST_TICKS];
    char text[MOST_TICKS][32];
    size_t n_ticks;
    char label[400], scale[96]; /* scale: " − 12.345 [10⁻⁵]" */
} axis;

typedef struct {
    const lm_corner *c;
    axis axes[LM_CORNER_PARAMS];
    double side, left, top; /* of a panel, and of the first one's corner */
    lm_canvas *canvas;
    double *density, *room;
    uint8_t *rgb;
} drawing;

/* As lm_canvas_text_width, which takes the minus sign for a digit. */
static double width_of(const char *text, double size)
{
    double minus = 0;
    for (const char *at = text; (at = strstr(at, "−")); at++) minus++;
    return lm_canvas_text_width(text, size) + 0.202 * size * minus;
}

static void tidy(char *text, size_t size, double value, int decimals)
{
    char plain[40];
    snprintf(plain, sizeof plain, "%.*f", decimals, fabs(value));
    bool zero = strspn(plain, "0.") == strlen(plain);
    snprintf(text, size, "%s%.24s", value < 0 && !zero ? "−" : "", plain);
}

static void power_text(char ret[32], int power)
{
    static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    char digits[16];
    snprintf(digits, sizeof digits, "%d", power < 0 ? -power : power);
    int n = snprintf(ret, 32, "10%s", power < 0 ? "⁻" : "");
    for (const char *c = digits; *c && n < 28; c++) n += snprintf(ret + n, 32 - (size_t)n, "%s", raised[*c - '0']);
}

/* Numbers too long for ticks are told from an offset and in a power of ten, which the label says. */
static void set_unit(axis *a)
{
    double middle = a->low / 2 + a->high / 2, range = a->high - a->low, largest = fmax(fabs(a->low), fabs(a->high));
    char power[32] = "", from[40] = "";
    a->offset = 0;
    a->unit = 1;
    if (range < 2e-4 * fabs(middle)) {
        double step = pow(10, ceil(log10(range)));
        a->offset = round(middle / step) * step;
        if (!isfinite(a->offset) || a->offset < a->low - 100 * range || a->offset > a->high + 100 * range)
            a->offset = middle;
        largest = fmax(fabs(a->low - a->offset), fabs(a->high - a->offset));
        snprintf(from, sizeof from, " %s %.10g", a->offset < 0 ? "+" : "−", fabs(a->offset));
    }
    int exponent = largest > 0 ? (int)floor(log10(largest)) : 0;
    if (exponent >= 4 || exponent < -2) {
        if (exponent < -300) exponent = -300;
        a->unit = pow(10, exponent);
        power_text(power, exponent);
    }
    snprintf(a->scale, sizeof a->scale, "%s%s%s%s", from, *power ? " [" : "", power, *power ? "]" : "");
}

/* Round places, as many as `most`, whose texts are no wider than allowed and stand apart. */
static bool find_ticks(axis *a, double side, double apart, size_t fewest)
{
    double low = (a->low - a->offset) / a->unit, high = (a->high - a->offset) / a->unit, range = high - low;
    size_t most = side < 90 ? 3 : side < 150 ? 4 : 5;
    for (size_t wanted = most + 3; wanted >= 1; wanted--) {
        double rough = range / (double)wanted, power = pow(10, floor(log10(rough))), part = rough / power;
        double step = power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 2.5 ? 2.5 : part <= 5 ? 5 : 10);
        int decimals = (int)fmax(0, ceil(-log10(step) - 1e-9));
        if (step * pow(10, decimals) - floor(step * pow(10, decimals) + 1e-6) > 0.1) decimals++; /* 2.5 */
        double widest = 0;
        size_t n = 0;
        if (floor(range / step) > (double)most) continue;
        for (double k = ceil(low / step - 1e-6); k * step <= high + 1e-6 * step && n < MOST_TICKS; k++, n++) {
            a->tick[n] = k * step * a->unit + a->offset;
            tidy(a->text[n], sizeof a->text[n], k * step, decimals);
            widest = fmax(widest, width_of(a->text[n], TICK_FONT));
        }
        a->n_ticks = n;
        if (n >= fewest && widest + apart <= step / range * side) return true;
    }
    return false;
}

static void set_ticks(axis *a, double side)
{
    if (!find_ticks(a, side, 6, 2) && !find_ticks(a, side, 2, 2) && !find_ticks(a, side, 2, 1)) a->n_ticks = 0;
}

/* The shortest stretch that holds a quarter of the weight, as a standard deviation: of a Gaussian that is 0.637 of
 * it, of several peaks it is that of one. */
static double narrowest(const double *values, const double *weights, size_t n, const size_t *order)
{
    double total = 0, held = 0, best = HUGE_VAL;
    for (size_t i = 0; i < n; i++) total += weights ? weights[i] : 1;
    for (size_t first = 0, end = 0; first < n; first++) { /* draws first to end - 1 */
        while (end < n && held < total / 4) {
            held += weights ? weights[order[end]] : 1;
            end++;
        }
        if (held < total / 4) break;
        best = fmin(best, values[order[end - 1]] - values[order[first]]);
        held -= weights ? weights[order[first]] : 1;
    }
    return best / 0.6373;
}

static void set_axis(drawing *d, size_t k, size_t *order)
{
    static const double parts[] = {0.0015, 0.16, 0.25, 0.5, 0.75, 0.84, 0.9985};
    const lm_corner *c = d->c;
    axis *a = &d->axes[k];
    double q[7];
    lm_corner_quantiles(c->draws[k], c->weights, c->n, parts, 7, order, q);
    double least = a->least = c->draws[k][order[0]], largest = a->largest = c->draws[k][order[c->n - 1]];
    a->median = q[3], a->lower = q[1], a->upper = q[5];
    a->width = q[5] / 2 - q[1] / 2;
    if (!(a->width > 0)) a->width = (q[6] - q[0]) / 6;
    /* the shortest of many stretches is short by chance too: by about what the number of draws in it fluctuates */
    double chance = 1 + 4 / sqrt(lm_corner_effective(c->weights, c->n));
    a->spread = fmin(a->width, chance * narrowest(c->draws[k], c->weights, c->n, order));
    if (!(a->spread > 0)) a->spread = 0.1 * a->width; /* a quarter of the draws are one number */
    /* the middle 99.7 %, with some room where the draws go on */
    double reach = fmin(0.12 * q[6] - 0.12 * q[0], 1e307);
    a->low = fmax(q[0] - reach, least - 0.4 * reach);
    a->high = fmin(q[6] + reach, largest + 0.4 * reach);
    a->low = fmax(a->low, -8e307), a->high = fmin(a->high, 8e307); /* their difference is a number */
    double truth = c->params[k].truth, range = a->high - a->low;
    if (truth < a->low && truth > a->low - range) a->low = truth - 0.05 * range;
    if (truth > a->high && truth < a->high + range) a->high = truth + 0.05 * range;
    if (!(a->high - a->low > 4e-15 * fmax(fabs(a->low), fabs(a->high))) || !isfinite(a->high - a->low)) {
        double half = fmin(a->median == 0 ? 0.5 : 0.1 * fabs(a->median), 4e307); /* constant, or beyond all numbers */
        double middle = fmax(fmin(a->median, 4e307), -4e307);
        a->low = middle - half, a->high = middle + half;
        a->spread = 0;
    }
    set_unit(a);
    set_ticks(a, d->side);
}

static double across(const drawing *d, size_t column, double value)
{
    const axis *a = &d->axes[column];
    return d->left + (double)column * (d->side + GAP) + (value - a->low) / (a->high - a->low) * d->side;
}

static double up(const drawing *d, size_t row, double value)
{
    const axis *a = &d->axes[row];
    return d->top + (double)row * (d->side + GAP) + d->side - (value - a->low) / (a->high - a->low) * d->side;
}

static bool inside(const axis *a, double value)
{
    return value >= a->low && value <= a->high;
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

/* A name as it is set: its last part with a Greek letter and an index below. */
typedef struct {
    char base[300], index[100];
} word;

static word set_name(const char *name)
{
    static const char *const greek[][2] = {
        {"alpha", "α"}, {"beta", "β"},   {"gamma", "γ"}, {"delta", "δ"}, {"epsilon", "ε"}, {"theta", "θ"},
        {"kappa", "κ"}, {"lambda", "λ"}, {"mu", "μ"},    {"nu", "ν"},    {"rho", "ρ"},     {"sigma", "σ"},
        {"tau", "τ"},   {"phi", "φ"},    {"psi", "ψ"},   {"omega", "ω"}, {"Omega", "Ω"},   {"Sigma", "Σ"}};
    word w = {"", ""};
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
    int before = (int)(last - name);
    for (size_t i = 0; i < sizeof greek / sizeof *greek; i++) {
        size_t n = strlen(greek[i][0]);
        const char *rest = last + n;
        if (strncmp(last, greek[i][0], n) != 0 || (*rest && *rest != '_' && strspn(rest, "0123456789") != strlen(rest)))
            continue;
        snprintf(w.base, sizeof w.base, "%.*s%s", before < 200 ? before : 200, name, greek[i][1]);
        snprintf(w.index, sizeof w.index, "%.90s", *rest == '_' ? rest + 1 : rest);
        return w;
    }
    const char *bar = strchr(last, '_');
    bool one = bar && bar - last <= 2 && bar[1] && strlen(bar + 1) <= 8; /* "R_e", not "background_level" */
    size_t letters = strcspn(last, "0123456789");
    if (one) {
        snprintf(w.base, sizeof w.base, "%.*s", (int)(bar - name), name);
        snprintf(w.index, sizeof w.index, "%s", bar + 1);
    } else if (letters == 1 && last[1] && strspn(last + 1, "0123456789") == strlen(last + 1)) { /* "e1" */
        snprintf(w.base, sizeof w.base, "%.*s", (int)(last + 1 - name), name);
        snprintf(w.index, sizeof w.index, "%.90s", last + 1);
    } else {
        snprintf(w.base, sizeof w.base, "%.290s", name);
    }
    return w;
}

/* In the middle of (x, y), no wider than `room`. */
static void draw_label(lm_canvas *canvas, double x, double y, double room, double size, bool upwards, const char *name,
                       const char *label, const char *scale)
{
    lm_font font = {.size = size, .color = LM_INK, .upwards = upwards};
    lm_font small = {.size = 0.75 * size, .color = LM_INK, .upwards = upwards};
    word w = set_name(label ? "" : name);
    if (label) snprintf(w.base, sizeof w.base, "%.290s", label);
    double first = width_of(w.base, size), second = width_of(w.index, 0.75 * size);
    double third = width_of(scale, size), width = first + second + third;
    if (width > room) { /* plain letters, smaller; and then the name is cut, never the scale */
        char whole[400];
        const char *plain = label ? label : name;
        snprintf(whole, sizeof whole, "%.300s%.95s", plain, scale);
        size = font.size = fmin(size, fmax(size * room / width_of(whole, size), 0.7 * size));
        third = width_of(scale, size);
        first = fmin(width_of(plain, size), fmax(room - third, 0));
        double from = -(first + third) / 2;
        if (upwards) {
            lm_canvas_text_within(canvas, x, y - from, first, font, plain);
            lm_canvas_text(canvas, x, y - from - first, font, scale);
        } else {
            lm_canvas_text_within(canvas, x + from, y, first, font, plain);
            lm_canvas_text(canvas, x + from + first, y, font, scale);
        }
        return;
    }
    double at = -width / 2, drop = 0.28 * size;
    if (upwards) {
        lm_canvas_text(canvas, x, y - at, font, w.base);
        lm_canvas_text(canvas, x + drop, y - at - first, small, w.index);
        lm_canvas_text(canvas, x, y - at - first - second, font, scale);
    } else {
        lm_canvas_text(canvas, x + at, y, font, w.base);
        lm_canvas_text(canvas, x + at + first, y + drop, small, w.index);
        lm_canvas_text(canvas, x + at + first + second, y, font, scale);
    }
}

/* "θ_E = 1.234 +0.021 −0.020", the errors one over the other; two digits of the smaller one. */
static void draw_title(drawing *d, size_t k)
{
    const axis *a = &d->axes[k];
    double below_by = a->median - a->lower, above_by = a->upper - a->median;
    if (!isfinite(below_by) || !isfinite(above_by)) return;
    double x = d->left + (double)k * (d->side + GAP), y = d->top + (double)k * (d->side + GAP) - 12;
    double error = fmin(below_by > 0 ? below_by : above_by, above_by > 0 ? above_by : below_by), unit = 1;
    char value[64], plus[64], minus[64], tail[48] = "", power[32];
    double size = fmax(fabs(a->median), fmax(below_by, above_by));
    int exponent = size > 0 ? (int)floor(log10(size)) : 0;
    if (exponent >= 5 || exponent < -3) {
        unit = pow(10, exponent);
        power_text(power, exponent);
        snprintf(tail, sizeof tail, "·%s", power);
    }

    int decimals = error > 0 ? 1 - (int)floor(log10(error / unit)) : 3;
    if (decimals > 8) return; /* the axis tells it better */
    decimals = decimals < 0 ? 0 : decimals;
    tidy(value, sizeof value, a->median / unit, decimals);
    tidy(plus, sizeof plus, above_by / unit, decimals);
    tidy(minus, sizeof minus, below_by / unit, decimals);
    char above[80], below[80], head[400];
    snprintf(above, sizeof above, "+%s", plus);
    snprintf(below, sizeof below, "−%s", minus);
    const char *label = d->c->params[k].label;
    word w = set_name(label ? "" : d->c->params[k].name);
    if (label) snprintf(w.base, sizeof w.base, "%.290s", label);
    snprintf(head, sizeof head, " = %s", value);
    bool named = true;
    for (double font = TITLE_FONT;; font -= 1) {
        double small = 0.75 * font, wb = named ? width_of(w.base, font) : 0, wi = named ? width_of(w.index, small) : 0,
               wh = width_of(named ? head : value, font),
               we = error > 0 ? fmax(width_of(above, small), width_of(below, small)) + 3 : 0, wt = width_of(tail, font),
               width = wb + wi + wh + we + wt;
        if (width > d->side + GAP - 2 && !named && font <= 8) return; /* the axis tells it */
        if (width > d->side + GAP - 2) {
            if (named && font <= 10)
                named = false, font = TITLE_FONT + 1; /* without the name, which is below the column */
            continue;
        }
        const lm_font big = {.size = font, .color = LM_INK}, little = {.size = small, .color = LM_INK};
        double at = x + (d->side - width) / 2;
        if (named) {
            lm_canvas_text(d->canvas, at, y, big, w.base);
            lm_canvas_text(d->canvas, at + wb, y + 0.28 * font, little, w.index);
        }
        lm_canvas_text(d->canvas, at + wb + wi, y, big, named ? head : value);
        if (error > 0) {
            lm_canvas_text(d->canvas, at + wb + wi + wh + 3, y - 0.42 * font, little, above);
            lm_canvas_text(d->canvas, at + wb + wi + wh + 3, y + 0.42 * font, little, below);
        }
        lm_canvas_text(d->canvas, at + wb + wi + wh + we, y, big, tail);
        return;
    }
}

/* ---- panels ----------------------------------------------------------------------------------------------------- */

static void draw_ticks(const drawing *d, size_t row, size_t column)
{
    double x0 = d->left + (double)column * (d->side + GAP), y0 = d->top + (double)row * (d->side + GAP);
    double x1 = x0 + d->side, y1 = y0 + d->side;
    const axis *a = &d->axes[column];
    bool last = row + 1 == d->c->n_params;
    for (size_t i = 0; i < a->n_ticks; i++) {
        double at = across(d, column, a->tick[i]), half = width_of(a->text[i], TICK_FONT) / 2;
        lm_canvas_segment(d->canvas, at, y1, at, y1 - TICK, 0.8, LM_INK, 0);
        if (row != column) lm_canvas_segment(d->canvas, at, y0, at, y0 + TICK, 0.8, LM_INK, 0);
        bool fits = at - half >= x0 - GAP / 2.0 + 1 && at + half <= x1 + GAP / 2.0 - 1;
        if (last && (fits || d->c->n_params == 1))
            lm_canvas_text(d->canvas, at, y1 + 12, (lm_font){.size = TICK_FONT, .color = LM_INK, .align = 0.5},
                           a->text[i]);
    }
    if (row == column) return; /* the height of a histogram means nothing */
    a = &d->axes[row];
    for (size_t i = 0; i < a->n_ticks; i++) {
        double at = up(d, row, a->tick[i]);
        lm_canvas_segment(d->canvas, x0, at, x0 + TICK, at, 0.8, LM_INK, 0);
        lm_canvas_segment(d->canvas, x1, at, x1 - TICK, at, 0.8, LM_INK, 0);
        bool fits = at - 6 >= y0 - GAP / 2.0 && at + 6 <= y1 + GAP / 2.0;
        if (column == 0 && fits)
            lm_canvas_text(d->canvas, x0 - 6, at, (lm_font){.size = TICK_FONT, .color = LM_INK, .align = 1},
                           a->text[i]);
    }
}

/* The number of bins: by Freedman & Diaconis (1981), within reason. */
static size_t bins_of(const drawing *d, const axis *a)
{
    if (d->c->bins) return d->c->bins;
    double n = lm_corner_effective(d->c->weights, d->c->n), width = 2 * 1.349 * a->spread * pow(n, -1.0 / 3);
    double bins = width > 0 ? (a->high - a->low) / width : 15;
    return (size_t)fmax(12, fmin(bins, 50));
}

enum { MOST_BINS = 200 };

static void draw_histogram(drawing *d, size_t k)
{
    const lm_corner *c = d->c;
    const axis *a = &d->axes[k];
    size_t bins = bins_of(d, a);
    double count[MOST_BINS] = {0}, most = 0, x[2 * MOST_BINS + 2], y[2 * MOST_BINS + 2];
    for (size_t i = 0; i < c->n; i++) {
        double at = (c->draws[k][i] - a->low) / (a->high - a->low) * (double)bins;
        if (at >= 0 && at < (double)bins) count[(size_t)at] += c->weights ? c->weights[i] : 1;
    }
    for (size_t i = 0; i < bins; i++) most = fmax(most, count[i]);
    double x0 = d->left + (double)k * (d->side + GAP), y0 = d->top + (double)k * (d->side + GAP), y1 = y0 + d->side;
    size_t n = 0;
    x[n] = x0, y[n++] = y1;
    for (size_t i = 0; i < bins; i++) {
        double height = most > 0 ? 0.92 * d->side * count[i] / most : 0;
        x[n] = x0 + d->side * (double)i / (double)bins, y[n++] = y1 - height;
        x[n] = x0 + d->side * (double)(i + 1) / (double)bins, y[n++] = y1 - height;
    }
    x[n] = x0 + d->side, y[n++] = y1;
    lm_canvas_clip(d->canvas, x0, y0, d->side, d->side);
    lm_canvas_area(d->canvas, x, y, n, bar_color, 1);
    lm_canvas_line(d->canvas, x, y, n, 1.2, contour_color, 0);
    const double lines[] = {a->lower, a->median, a->upper};
    for (int i = 0; i < 3 && a->spread > 0; i++)
        lm_canvas_segment(d->canvas, across(d, k, lines[i]), y1, across(d, k, lines[i]), y0, i == 1 ? 1.2 : 1, LM_INK,
                          i == 1 ? 5 : 3);
    double truth = c->params[k].truth;
    if (inside(a, truth))
        lm_canvas_segment(d->canvas, across(d, k, truth), y1, across(d, k, truth), y0, 1.6, truth_color, 0);
    lm_canvas_clip(d->canvas, 0, 0, 0, 0);
}

/* The correlation of two columns from the spread of their sum and difference in units of their own: robust against
 * far draws. */
static double correlation(const drawing *d, size_t row, size_t column, size_t *order, double *values)
{
    const lm_corner *c = d->c;
    static const double parts[] = {0.16, 0.84};
    double q[2], width[2];
    for (int sign = 0; sign < 2; sign++) {
        for (size_t i = 0; i < c->n; i++)
            values[i] =
                c->draws[column][i] / d->axes[column].width + (sign ? -1 : 1) * (c->draws[row][i] / d->axes[row].width);
        lm_corner_quantiles(values, c->weights, c->n, parts, 2, order, q);
        width[sign] = q[1] - q[0];
    }
    double a = width[0] * width[0], b = width[1] * width[1];
    return a + b > 0 ? (a - b) / (a + b) : 0;
}

typedef struct {
    drawing *d;
    double x0, y1;
} place;

static void draw_curve(void *arg, const double *x, const double *y, size_t n)
{
    const place *p = arg;
    double step = p->d->side / (LM_CORNER_GRID - 1);
    double *px = p->d->room, *py = px + LM_CORNER_GRID * LM_CORNER_GRID / 2; /* longer ones are cut in pieces */
    for (size_t from = 0; from + 1 < n;) {
        size_t count = n - from < LM_CORNER_GRID * LM_CORNER_GRID / 2 ? n - from : LM_CORNER_GRID * LM_CORNER_GRID / 2;
        for (size_t i = 0; i < count; i++) px[i] = p->x0 + x[from + i] * step, py[i] = p->y1 - y[from + i] * step;
        lm_canvas_line(p->d->canvas, px, py, count, 1, contour_color, 0);
        from += count - 1;
    }
}

static void blend(uint8_t *dot, uint32_t color, double opacity)
{
    for (int k = 0; k < 3; k++) {
        double to = (double)(color >> (16 - 8 * k) & 255);
        dot[k] = (uint8_t)lround(dot[k] + opacity * (to - dot[k]));
    }
}

/* Draws of no region, as squares of `wide` dots. */
static void paint_points(drawing *d, size_t row, size_t column, double outermost, long wide, double opacity)
{
    const lm_corner *c = d->c;
    const axis *a = &d->axes[column], *b = &d->axes[row];
    long size = (long)(d->side * dots);
    double total = 0;
    for (size_t i = 0; c->weights && i < c->n; i++) total += c->weights[i];
    for (size_t i = 0; i < c->n; i++) {
        double u = (c->draws[column][i] - a->low) / (a->high - a->low),
               v = (c->draws[row][i] - b->low) / (b->high - b->low);
        if (!(u >= 0 && u <= 1 && v >= 0 && v <= 1)) continue;
        if (lm_corner_at(d->density, u * (LM_CORNER_GRID - 1), v * (LM_CORNER_GRID - 1)) >= outermost) continue;
        double part = c->weights ? fmin(1, c->weights[i] * (double)c->n / total) : 1; /* light draws are faint */
        long x = (long)(u * (double)size) - wide / 2, y = (long)((1 - v) * (double)size) - wide / 2;
        for (long q = y < 0 ? 0 : y; q < y + wide && q < size; q++)
            for (long p = x < 0 ? 0 : x; p < x + wide && p < size; p++)
                blend(d->rgb + 3 * (q * size + p), contour_color, opacity * part);
    }
}

static void paint_regions(drawing *d, const double *thresholds)
{
    size_t size = (size_t)(d->side * dots), n = d->c->n_levels;
    for (size_t j = 0; j < size; j++)
        for (size_t i = 0; i < size; i++) {
            double u = ((double)i + 0.5) / (double)size * (LM_CORNER_GRID - 1);
            double v = (1 - ((double)j + 0.5) / (double)size) * (LM_CORNER_GRID - 1),
                   here = lm_corner_at(d->density, u, v);
            size_t within = 0; /* contours that hold this dot */
            for (size_t k = 0; k < n; k++) within += here >= thresholds[k];
            if (!within) continue;
            /* spread over the palette: one level has a middle blue, two a light and a strong one */
            size_t shade = n == 1 ? 1 : (within - 1) * (n == 2 ? 2 : n == 3 ? 3 : PALETTE - 1) / (n - 1);
            if (n == 2) shade += 1;
            blend(d->rgb + 3 * (j * size + i), fills[shade < PALETTE ? shade : PALETTE - 1], 1);
        }
}

static lm_status draw_pair(drawing *d, size_t row, size_t column, size_t *order, double *values, lm_error *err)
{
    const lm_corner *c = d->c;
    const axis *a = &d->axes[column], *b = &d->axes[row];
    size_t size = (size_t)(d->side * dots);
    double x0 = d->left + (double)column * (d->side + GAP), y0 = d->top + (double)row * (d->side + GAP);
    double thresholds[LM_CORNER_LEVELS], outermost = HUGE_VAL, n = lm_corner_effective(c->weights, c->n);
    bool spread = a->spread > 0 && b->spread > 0 && n >= 20; /* a density of fewer draws is a fancy */
    memset(d->rgb, 255, 3 * size * size);
    if (spread) {
        double rho = correlation(d, row, column, order, values), thin = sqrt(fmax(1 - rho * rho, 0.01));
        double h = c->smooth * pow(n, -1.0 / 6) * thin;
        lm_corner_window window = {a->low, a->high, b->low, b->high, a->least, a->largest, b->least, b->largest};
        lm_corner_density(c->draws[column], c->draws[row], c->weights, c->n, &window,
                          (double[]){h * a->spread, h * b->spread}, d->room, d->density);
        lm_corner_thresholds(d->density, c->levels, c->n_levels, d->room, thresholds);
        if (c->n_levels) outermost = thresholds[c->n_levels - 1];
        paint_regions(d, thresholds);
    } else {
        memset(d->density, 0, LM_CORNER_GRID * LM_CORNER_GRID * sizeof *d->density);
    }
    bool few = !spread || n < 100;
    if (c->points || !spread) paint_points(d, row, column, outermost, few ? 6 : 2, few ? 0.8 : n < 3000 ? 0.45 : 0.25);
    lm_canvas_image(d->canvas, x0, y0, d->side, d->side, d->rgb, size, size);
    lm_canvas_clip(d->canvas, x0, y0, d->side, d->side);
    place at = {d, x0, y0 + d->side};
    for (size_t k = 0; spread && k < c->n_levels; k++)
        LM_TRY(lm_corner_contours(d->density, thresholds[k], draw_curve, &at, err));
    double tx = c->params[column].truth, ty = c->params[row].truth;
    if (inside(a, tx))
        lm_canvas_segment(d->canvas, across(d, column, tx), y0, across(d, column, tx), y0 + d->side, 1.2, truth_color,
                          0);
    if (inside(b, ty))
        lm_canvas_segment(d->canvas, x0, up(d, row, ty), x0 + d->side, up(d, row, ty), 1.2, truth_color, 0);
    if (inside(a, tx) && inside(b, ty)) {
        double mx = across(d, column, tx), my = up(d, row, ty);
        lm_canvas_area(d->canvas, (double[]){mx - 3, mx + 3, mx + 3, mx - 3},
                       (double[]){my - 3, my - 3, my + 3, my + 3}, 4, truth_color,
                       0.999); /* drawn, not filled under the lines */
    }
    lm_canvas_clip(d->canvas, 0, 0, 0, 0);
    return LM_OK;
}

/* ---- the page --------------------------------------------------------------------------------------------------- */

/* What the colours mean, in the empty corner. */
static void draw_legend(const drawing *d, double page)
{
    const lm_corner *c = d->c;
    const lm_font font = {.size = 13, .color = LM_INK};
    double x = d->left + d->side + GAP + 0.35 * d->side, y = d->top + 6, room = page - x - EDGE;
    bool truth = false;
    char text[200];
    for (size_t k = 0; k < c->n_params; k++) truth = truth || inside(&d->axes[k], c->params[k].truth);
    if (c->n_params < 3) return;
    if (c->title && *c->title) {
        lm_canvas_text_within(d->canvas, x, y, room, (lm_font){.size = 16, .color = LM_INK}, c->title);
        y += 26;
    }
    int n = snprintf(text, sizeof text, "%zu draws; regions of", c->n);
    for (size_t k = 0; k < c->n_levels && n < 150; k++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s %.3g", k ? "," : "", 100 * c->levels[k]);
    snprintf(text + n, sizeof text - (size_t)n, " %%");
    lm_canvas_text_within(d->canvas, x, y, room, font, text);
    if (!truth) return;
    lm_canvas_segment(d->canvas, x, y + 20, x + 20, y + 20, 1.6, truth_color, 0);
    lm_canvas_text(d->canvas, x + 26, y + 20, font, "truth");
}

static lm_status draw_all(drawing *d, double page, size_t *order, double *values, lm_error *err)
{
    const lm_corner *c = d->c;
    for (size_t row = 0; row < c->n_params; row++)
        for (size_t column = 0; column <= row; column++) {
            if (row == column) draw_histogram(d, row);
            else LM_TRY(draw_pair(d, row, column, order, values, err));
            lm_canvas_frame(d->canvas, d->left + (double)column * (d->side + GAP),
                            d->top + (double)row * (d->side + GAP), d->side, d->side, 1, LM_INK);
            draw_ticks(d, row, column);
        }
    for (size_t k = 0; k < c->n_params; k++) {
        double middle = (double)k * (d->side + GAP) + d->side / 2,
               foot = d->top + (double)c->n_params * (d->side + GAP) - GAP;
        const lm_corner_param *p = &c->params[k];
        draw_label(d->canvas, d->left + middle, foot + 33, d->side + GAP - 2, LABEL_FONT, false, p->name, p->label,
                   d->axes[k].scale);
        if (k)
            draw_label(d->canvas, EDGE + 4, d->top + middle, d->side + GAP - 2, LABEL_FONT, true, p->name, p->label,
                       d->axes[k].scale);
        if (c->titles) draw_title(d, k);
    }
    draw_legend(d, page);
    if (c->n_params < 3 && c->title && *c->title)
        lm_canvas_text_within(d->canvas, d->left, 14, page - d->left - EDGE, (lm_font){.size = 16, .color = LM_INK},
                              c->title);
    return LM_OK;
}

static double panel_side(const lm_corner *c)
{
    static const double usual[] = {280, 220, 190, 170, 150, 140, 130};
    if (c->size > 0) return round(c->size);
    return c->n_params <= 7 ? usual[c->n_params - 1] : 120;
}

static lm_status draw_nothing(lm_canvas **ret, lm_error *err)
{
    LM_OWN(lm_canvas) canvas = lm_canvas_new(300, 300, dots);
    if (!canvas) return LM_NOMEM(err);
    lm_canvas_text(canvas, 150, 150, (lm_font){.size = 14, .color = LM_FAINT, .align = 0.5}, "nothing to show");
    *ret = lm_take(canvas);
    return LM_OK;
}

lm_status lm_corner_draw(const lm_corner *corner, lm_canvas **ret, lm_error *err)
{
    if (!corner->n || !corner->n_params) return draw_nothing(ret, err);
    LM_OWN(lm_memory) own = lm_alloc(1, sizeof(drawing));
    LM_OWN(lm_memory) grids = lm_alloc(2 * LM_CORNER_GRID * LM_CORNER_GRID, sizeof(double));
    LM_OWN(lm_memory) index = lm_alloc(corner->n, sizeof(size_t));
    LM_OWN(lm_memory) column = lm_alloc(corner->n, sizeof(double));
    drawing *d = own;
    if (!d || !grids || !index || !column) return LM_NOMEM(err);
    *d = (drawing){.c = corner, .side = panel_side(corner)};
    d->density = grids;
    d->room = d->density + LM_CORNER_GRID * LM_CORNER_GRID;
    size_t size = (size_t)(d->side * dots);
    LM_OWN(lm_memory) rgb = lm_alloc(3 * size * size, 1);
    if (!(d->rgb = rgb)) return LM_NOMEM(err);
    double widest = 0;
    for (size_t k = 0; k < corner->n_params; k++) {
        set_axis(d, k, index);
        for (size_t i = 0; k && i < d->axes[k].n_ticks; i++)
            widest = fmax(widest, width_of(d->axes[k].text[i], TICK_FONT));
    }
    bool above = corner->n_params < 3 && corner->title && *corner->title;
    d->left = corner->n_params > 1 ? EDGE + 14 + widest + 10 : EDGE + 8;
    d->top = (corner->titles ? HEAD : EDGE) + (above ? 22 : 0);
    double panels = (double)corner->n_params * (d->side + GAP) - GAP, page = d->left + panels + EDGE;
    LM_OWN(lm_canvas) canvas = lm_canvas_new(page, d->top + panels + 48, dots);
    if (!(d->canvas = canvas)) return LM_NOMEM(err);
    LM_TRY(draw_all(d, page, index, column, err));
    *ret = lm_take(canvas);
    return LM_OK;
}
