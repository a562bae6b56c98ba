/* plot.images: a contact sheet of the images of many records.
 *
 * Each record is a strip of panels, one a tensor, under its id; `columns` such strips stand side by side.
 */
#include "operators/plot/_sheet.h"
#include "runtime/operator.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *path, *title;
    lm_texts tensors, share, residuals;
    int64_t columns, thumb, limit;
    int stretch, colormap, diverging;
    lm_reals clip;
} images;

static const lm_param params[] = {
    LM_PATH(images, path, NULL, .required = true, .output = true, .per_record = true,
            .doc = "picture to write, .png or .svg; {id} and attributes are those of the first record"),
    LM_TEXTS(images, tensors, "[\"image\"]", .doc = "images to show of every record, a panel each"),
    LM_INT(images, columns, 4, .min = 1, .max = 100,
           .doc = "records side by side; each has its panels next to one another"),
    LM_CHOICE(images, stretch, "asinh", lm_stretch_names,
              .doc = "how brightness follows the pixel value between the limits: asinh and log lift faint light"),
    LM_REALS(images, clip, "[10, 99.7]",
             .doc = "percentiles of the pixel values that become black and white; a high first one darkens the sky"),
    LM_CHOICE(images, colormap, "gray", lm_colormap_names, .doc = "colours from faint to bright"),
    LM_TEXTS(images, share, "[\"image\", \"model\"]",
             .doc = "of these, all are shown between the limits of the first that a record has, to be comparable"),
    LM_TEXTS(images, residuals, "[\"residual\"]",
             .doc = "these lie about zero: shown linear, from -a to a, where a is the upper percentile of |value|"),
    LM_CHOICE(images, diverging, "coolwarm", lm_colormap_names, .doc = "colours of the residuals"),
    LM_INT(images, limit, 100, .min = 1, .max = 10000,
           .doc = "the most records on the sheet; the title tells how many were left out"),
    LM_INT(images, thumb, 0, .min = 0, .max = 2000, .unit = "pix",
           .doc = "width of a panel in the picture; 0: chosen by how many stand in a row"),
    LM_TEXT(images, title, "", .per_record = true, .doc = "words above the sheet"),
    {0}};

static const lm_port ports[] = {{"in", LM_PORT_GATHER, "records to show", false}, {0}};

static lm_status images_check(const void *self, lm_error *err)
{
    const images *s = self;
    lm_format format;
    size_t length = strlen(s->path);
    if (length && s->path[length - 1] != '}') LM_TRY(lm_format_of_path(s->path, &format, err));
    if (s->tensors.n == 0) return LM_FAIL(err, LM_EGRAPH, "\"tensors\" names no image to show");
    if (s->clip.n != 2 || !(s->clip.at[0] >= 0 && s->clip.at[0] < s->clip.at[1] && s->clip.at[1] <= 100))
        return LM_FAIL_HINT(err, LM_EGRAPH, "Write for instance clip: [1, 99.5].",
                            "\"clip\" is not a pair of rising percentiles between 0 and 100");
    return LM_OK;
}

static lm_status images_step(const void *self, lm_step *step, lm_error *err)
{
    const images *s = self;
    size_t of = lm_step_count(step, "in"), n = of < (size_t)s->limit ? of : (size_t)s->limit;
    const lm_record *record = NULL;
    if (n) LM_TRY(lm_step_member(step, "in", 0, &record, err));
    const char *path, *title, *temporary;
    LM_TRY(lm_step_expand(step, s->path, record, &path, err));
    LM_TRY(lm_step_expand(step, s->title, record, &title, err));
    lm_format format;
    LM_TRY(lm_format_of_path(path, &format, err));

    const lm_sheet_style style = {.tensors = s->tensors.at,
                                  .n_tensors = s->tensors.n,
                                  .share = s->share.at,
                                  .n_share = s->share.n,
                                  .signed_tensors = s->residuals.at,
                                  .n_signed = s->residuals.n,
                                  .columns = (size_t)s->columns,
                                  .thumb = (size_t)s->thumb,
                                  .stretch = (lm_stretch)s->stretch,
                                  .colormap = (lm_colormap)s->colormap,
                                  .diverging = (lm_colormap)s->diverging,
                                  .clip_low = s->clip.at[0],
                                  .clip_high = s->clip.at[1],
                                  .title = title};
    LM_OWN(lm_sheet) sheet = NULL;
    LM_TRY(lm_sheet_new(&style, n, of, lm_step_missing(step, "in"), record, &sheet, err));
    for (size_t i = 0; i < n; i++) {
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
        if (i) LM_TRY(lm_step_member(step, "in", i, &record, err));
        LM_TRY_IN(lm_sheet_add(sheet, record, err), err, "record \"%s\"", lm_record_id(record));
    }
    LM_TRY(lm_step_file(step, path, &temporary, err));
    return lm_sheet_write(sheet, format, temporary, err);
}

const lm_operator lm_op_plot_images = {
    .struct_size = sizeof(lm_operator),
    .name = "plot.images",
    .version = 1,
    .summary = "A contact sheet: the images of many records in one picture",
    .doc =
        "Every record is a strip of panels, one for each of `tensors`, under its id. Row 0 of an image is at the\n"
        "bottom, as FITS viewers show it. Pixels that are not a number are green (red among viridis). Images smaller\n"
        "than their panel keep their pixels as squares; larger ones are averaged down; the aspect stays.\n"
        "\n"
        "Panels of 150 pixels and more have a colour bar with the values (and the unit) at its ends and middle.",
    .example = "{path: out/sheet.png, tensors: [image, model, residual], stretch: asinh, columns: 6}",
    .shape = LM_SINK,
    .size = sizeof(images),
    .params = params,
    .ports = ports,
    .check = images_check,
    .step = images_step,
};
