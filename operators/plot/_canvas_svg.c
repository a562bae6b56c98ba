#include "operators/plot/_canvas_marks.h"
#include "operators/plot/_png.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* A length to a hundredth of a pixel, without needless zeros. */
static void number(lm_text *to, double value)
{
    long hundredths = lround(value * 100);
    if (hundredths < 0) lm_text_char(to, '-');
    hundredths = labs(hundredths);
    lm_text_format(to, "%ld", hundredths / 100);
    if (hundredths % 10) lm_text_format(to, ".%02ld", hundredths % 100);
    else if (hundredths % 100) lm_text_format(to, ".%ld", hundredths % 100 / 10);
}

static void attribute(lm_text *to, const char *name, double value)
{
    lm_text_format(to, " %s=\"", name);
    number(to, value);
    lm_text_char(to, '"');
}

static void escaped(lm_text *to, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '&') lm_text_add(to, "&amp;");
        else if (*c == '<') lm_text_add(to, "&lt;");
        else if (*c == '>') lm_text_add(to, "&gt;");
        else lm_text_char(to, *c);
    }
}

static void path(lm_text *to, const mark *m)
{
    lm_text_add(to, "<path d=\"");
    for (size_t i = 0; i < m->n; i++) {
        lm_text_char(to, i ? 'L' : 'M');
        number(to, m->points[i]);
        lm_text_char(to, ' ');
        number(to, m->points[m->n + i]);
    }
    if (m->kind == MARK_AREA) {
        lm_text_format(to, "Z\" fill=\"#%06x\"", m->color);
        if (m->opacity < 1) attribute(to, "fill-opacity", m->opacity);
    } else {
        lm_text_format(to, "\" fill=\"none\" stroke=\"#%06x\"", m->color);
        attribute(to, "stroke-width", m->line);
    }
    lm_text_add(to, "/>\n");
}

static void text(lm_text *to, const mark *m)
{
    double drop = 0.365 * m->size; /* from the middle of the digits to their foot */
    lm_text_add(to, "<text");
    if (m->upwards) {
        lm_text_add(to, " transform=\"translate(");
        number(to, m->x + drop);
        lm_text_char(to, ' ');
        number(to, m->y);
        lm_text_add(to, ") rotate(-90)\"");
    } else {
        attribute(to, "x", m->x);
        attribute(to, "y", m->y + drop);
    }
    attribute(to, "font-size", m->size);
    lm_text_format(to, " fill=\"#%06x\"", m->color);
    if (m->bold) lm_text_add(to, " font-weight=\"bold\"");
    if (m->align > 0) lm_text_format(to, " text-anchor=\"%s\"", m->align < 1 ? "middle" : "end");
    lm_text_char(to, '>');
    escaped(to, m->text);
    lm_text_add(to, "</text>\n");
}

static lm_status image(lm_text *to, const mark *m, lm_error *err)
{
    lm_text png;
    lm_text_init(&png);
    lm_status status = lm_png_encode(m->rgb, m->columns, m->rows, 0, &png, err);
    unsigned char *base64 = status ? NULL : lm_alloc_raw(4 * (png.length / 3 + 1) + 1);
    if (!status && !base64) status = LM_NOMEM(err);
    if (!status) {
        EVP_EncodeBlock(base64, (const unsigned char *)png.chars, (int)png.length);
        lm_text_add(to, "<image");
        attribute(to, "x", m->x);
        attribute(to, "y", m->y);
        attribute(to, "width", m->width);
        attribute(to, "height", m->height);
        lm_text_add(to, " preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\" "
                        "xlink:href=\"data:image/png;base64,");
        lm_text_add(to, (const char *)base64);
        lm_text_add(to, "\"/>\n");
    }
    lm_free(base64);
    lm_text_done(&png);
    return status;
}

lm_status lm_canvas_svg(const lm_canvas *canvas, lm_text *ret, lm_error *err)
{
    lm_text_add(ret, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
                     "xmlns:xlink=\"http://www.w3.org/1999/xlink\"");
    attribute(ret, "width", canvas->width);
    attribute(ret, "height", canvas->height);
    lm_text_add(ret, " viewBox=\"0 0 ");
    number(ret, canvas->width);
    lm_text_char(ret, ' ');
    number(ret, canvas->height);
    lm_text_format(ret,
                   "\" font-family=\"'DejaVu Sans', Verdana, sans-serif\" stroke-linejoin=\"round\">\n"
                   "<rect width=\"100%%\" height=\"100%%\" fill=\"#%06x\"/>\n",
                   (unsigned)LM_PAPER);
    unsigned clips = 0;
    bool open = false;
    for (size_t i = 0; i < canvas->n; i++) {
        const mark *m = &canvas->marks[i];
        if (m->kind == MARK_LINE || m->kind == MARK_AREA) {
            path(ret, m);
        } else if (m->kind == MARK_TEXT) {
            text(ret, m);
        } else if (m->kind == MARK_IMAGE) {
            LM_TRY(image(ret, m, err));
        } else {
            if (open) lm_text_add(ret, "</g>\n");
            open = m->width > 0;
            if (!open) continue;
            lm_text_format(ret, "<clipPath id=\"clip%u\"><rect", ++clips);
            attribute(ret, "x", m->x);
            attribute(ret, "y", m->y);
            attribute(ret, "width", m->width);
            attribute(ret, "height", m->height);
            lm_text_format(ret, "/></clipPath>\n<g clip-path=\"url(#clip%u)\">\n", clips);
        }
    }
    if (open) lm_text_add(ret, "</g>\n");
    lm_text_add(ret, "</svg>\n");
    return ret->failed ? LM_NOMEM(err) : LM_OK;
}
