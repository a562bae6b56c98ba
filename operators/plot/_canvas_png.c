/* Images and upright rectangles are copied dot by dot; everything else is drawn over them by PLplot into the same memory.
 *
 * PLplot has global state, asks on stdin for a device that it does not know, and ends the program when it is in trouble. So:
 * one mutex, a look at its list of devices first, and a handler that jumps back here.
 */
#include "operators/plot/_canvas_marks.h"
#include "operators/plot/_png.h"

#include <math.h>
#include <plplot/plplot.h>
#include <pthread.h>
#include <setjmp.h>
#include <string.h>

enum { LARGEST_SIDE = 32000 };               /* cairo's surfaces end at 32767 */
static const double text_height = 25.4 / 96; /* mm for a font of 1 dot: Pango takes 96 dots an inch */

static pthread_mutex_t plplot = PTHREAD_MUTEX_INITIALIZER;
static jmp_buf give_up; /* under the mutex, as are the two below */
static char complaint[256];
static PLINT stream;

static int on_exit_wanted(const char *why)
{
    snprintf(complaint, sizeof complaint, "%s", why ? why : "");
    longjmp(give_up, 1);
}

static void on_abort(const char *why)
{
    if (!*complaint) snprintf(complaint, sizeof complaint, "%s", why ? why : "");
}

static bool has_device(const char *name)
{
    const char *menu[128], *devices[128], **menu_at = menu, **devices_at = devices;
    int n = 128;
    plgDevs(&menu_at, &devices_at, &n);
    for (int i = 0; i < n; i++)
        if (devices_at[i] && strcmp(devices_at[i], name) == 0) return true;
    return false;
}

static void put_dot(uint8_t *rgb, size_t width, size_t x, size_t y, const uint8_t *color)
{
    memcpy(rgb + 3 * (y * width + x), color, 3);
}

/* Each dot takes the colour of the image pixel under its middle. */
static void copy_image(uint8_t *rgb, size_t width, size_t height, const mark *m, double scale)
{
    double left = round(m->x * scale), top = round(m->y * scale);
    double across = round(m->width * scale), down = round(m->height * scale);
    for (double y = 0; y < down; y++)
        for (double x = 0; x < across; x++) {
            if (left + x < 0 || top + y < 0 || left + x >= (double)width || top + y >= (double)height) continue;
            size_t column = (size_t)((x + 0.5) / across * (double)m->columns);
            size_t row = (size_t)((y + 0.5) / down * (double)m->rows);
            put_dot(rgb, width, (size_t)(left + x), (size_t)(top + y), m->rgb + 3 * (row * m->columns + column));
        }
}

static bool is_rectangle(const mark *m)
{
    const double *x = m->points, *y = m->points + m->n;
    return m->n == 4 && m->opacity >= 1 && x[0] == x[3] && x[1] == x[2] && y[0] == y[1] && y[2] == y[3];
}

static void fill_rectangle(uint8_t *rgb, size_t width, size_t height, const mark *m, double scale)
{
    if (!is_rectangle(m)) return;
    const double *x = m->points, *y = m->points + m->n;
    double x0 = fmax(0, round(x[0] * scale)), x1 = fmin((double)width, round(x[1] * scale));
    double y0 = fmax(0, round(y[0] * scale)), y1 = fmin((double)height, round(y[2] * scale));
    const uint8_t color[3] = {(uint8_t)(m->color >> 16), (uint8_t)(m->color >> 8), (uint8_t)m->color};
    for (double i = y0; i < y1; i++)
        for (double j = x0; j < x1; j++) put_dot(rgb, width, (size_t)j, (size_t)i, color);
}

static void set_color(const mark *m)
{
    plscol0a(1, (PLINT)(m->color >> 16 & 255), (PLINT)(m->color >> 8 & 255), (PLINT)(m->color & 255), m->opacity);
    plcol0(1);
}

/* The window in pixels, y downwards, of a part of the page. */
static void set_window(const lm_canvas *canvas, double x, double y, double width, double height)
{
    plvpor(x / canvas->width, (x + width) / canvas->width, 1 - (y + height) / canvas->height, 1 - y / canvas->height);
    plwind(x, x + width, y + height, y);
}

static void draw_text(const mark *m, double scale)
{
    char escaped[2 * LONGEST_TEXT + 32];
    size_t n = 0;
    for (const char *c = m->text; *c && n + 3 < sizeof escaped; c++) {
        if (*c == '#') escaped[n++] = '#'; /* PLplot's escape character */
        escaped[n++] = *c;
    }
    escaped[n] = 0;
    plsfont(PL_FCI_SANS, PL_FCI_UPRIGHT, m->bold ? PL_FCI_BOLD : PL_FCI_MEDIUM);
    plschr(m->size * scale * text_height, 1);
    if (m->upwards) plptex(m->x, m->y, 0, -1, m->align, escaped);
    else plptex(m->x, m->y, 1, 0, m->align, escaped);
}

static void draw(const lm_canvas *canvas)
{
    set_window(canvas, 0, 0, canvas->width, canvas->height);
    for (size_t i = 0; i < canvas->n; i++) {
        const mark *m = &canvas->marks[i];
        switch (m->kind) {
        case MARK_LINE:
            set_color(m);
            plwidth(m->line * canvas->scale);
            plline((PLINT)m->n, m->points, m->points + m->n);
            break;
        case MARK_AREA:
            if (is_rectangle(m)) break;
            set_color(m);
            plfill((PLINT)m->n, m->points, m->points + m->n);
            break;
        case MARK_TEXT:
            set_color(m);
            draw_text(m, canvas->scale);
            break;
        case MARK_CLIP:
            if (m->width > 0) set_window(canvas, m->x, m->y, m->width, m->height);
            else set_window(canvas, 0, 0, canvas->width, canvas->height);
            break;
        case MARK_IMAGE: break;
        }
    }
}

/* Under the mutex. */
static lm_status draw_with_plplot(const lm_canvas *canvas, uint8_t *rgb, size_t width, size_t height, lm_error *err)
{
    if (!has_device("memcairo"))
        return LM_FAIL_HINT(err, LM_EIO, "Install plplot-driver-cairo (Debian), or write an .svg instead.",
                            "PLplot has no cairo driver here, so that no text can be drawn into a PNG");
    *complaint = 0;
    if (setjmp(give_up)) return LM_FAIL(err, LM_EIO, "PLplot gave up: %s", complaint);
    plsexit(on_exit_wanted);
    plsabort(on_abort);
    plmkstrm(&stream);
    plsdev("memcairo");
    plsmem((PLINT)width, (PLINT)height, rgb);
    plspage(72, 72, (PLINT)width, (PLINT)height, 0, 0);
    plinit();
    plspause(0);
    pladv(0);
    draw(canvas);
    plend1();
    plsexit(NULL);
    plsabort(NULL);
    if (*complaint) return LM_FAIL(err, LM_EIO, "PLplot gave up: %s", complaint);
    return LM_OK;
}

lm_status lm_canvas_png(const lm_canvas *canvas, lm_text *ret, lm_error *err)
{
    double across = round(canvas->width * canvas->scale), down = round(canvas->height * canvas->scale);
    if (!(across >= 1 && down >= 1 && across <= LARGEST_SIDE && down <= LARGEST_SIDE))
        return LM_FAIL_HINT(err, LM_EINPUT, "Show fewer records, or smaller panels, or write an .svg.",
                            "a PNG of %.0f x %.0f dots is larger than %d on a side", across, down, LARGEST_SIDE);
    size_t width = (size_t)across, height = (size_t)down;
    LM_OWN(lm_memory) dots = lm_alloc_raw(3 * width * height);
    if (!dots) return LM_NOMEM(err);
    memset(dots, 255, 3 * width * height);
    for (size_t i = 0; i < canvas->n; i++) {
        const mark *m = &canvas->marks[i];
        if (m->kind == MARK_IMAGE) copy_image(dots, width, height, m, canvas->scale);
        if (m->kind == MARK_AREA) fill_rectangle(dots, width, height, m, canvas->scale);
    }
    pthread_mutex_lock(&plplot);
    lm_status status = draw_with_plplot(canvas, dots, width, height, err);
    pthread_mutex_unlock(&plplot);
    return status ? status : lm_png_encode(dots, width, height, 96 * canvas->scale, ret, err);
}
