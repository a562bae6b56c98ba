/* Colour maps against what their authors published: ends, middles, and how their luminance runs. */
#include "operators/core/colormap.h"
#include "tests/test.h"

static double linear(uint32_t level)
{
    double c = level / 255.0;
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

/* Relative luminance of an sRGB colour (IEC 61966-2-1). */
static double luminance(uint32_t rgb)
{
    return 0.2126 * linear(rgb >> 16) + 0.7152 * linear(rgb >> 8 & 255) + 0.0722 * linear(rgb & 255);
}

TEST(ends_are_the_published_ones)
{
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_GRAY, 0), 0x000000);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_GRAY, 1), 0xFFFFFF);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_GRAY_R, 0), 0xFFFFFF);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_GRAY_R, 1), 0x000000);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_VIRIDIS, 0), 0x440154);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_VIRIDIS, 1), 0xFDE725);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_INFERNO, 0), 0x000004);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_INFERNO, 1), 0xFCFFA4);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_MAGMA, 0), 0x000004);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_MAGMA, 1), 0xFCFDBF);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_COOLWARM, 0), 0x3B4CC0);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_COOLWARM, 0.5), 0xDDDDDD);
    EQUAL_INT(lm_colormap_rgb(LM_COLORMAP_COOLWARM, 1), 0xB40426);
}

TEST(beyond_the_ends_is_the_end)
{
    for (int m = LM_COLORMAP_GRAY; m <= LM_COLORMAP_COOLWARM; m++) {
        lm_colormap map = (lm_colormap)m;
        EQUAL_INT(lm_colormap_rgb(map, -3), lm_colormap_rgb(map, 0));
        EQUAL_INT(lm_colormap_rgb(map, 3), lm_colormap_rgb(map, 1));
        EQUAL_INT(lm_colormap_rgb(map, INFINITY), lm_colormap_rgb(map, 1));
    }
}

TEST(luminance_rises_along_sequential_maps)
{
    static const lm_colormap maps[] = {LM_COLORMAP_GRAY, LM_COLORMAP_VIRIDIS, LM_COLORMAP_INFERNO, LM_COLORMAP_MAGMA};
    for (size_t m = 0; m < sizeof maps / sizeof *maps; m++) {
        double before = -1;
        for (int i = 0; i <= 64; i++) { /* steps of four levels: larger than the rounding to whole levels */
            double now = luminance(lm_colormap_rgb(maps[m], i / 64.0));
            if (!(now > before)) FAIL("%s: luminance does not rise at %d/64", lm_colormap_names[maps[m]], i);
            before = now;
        }
    }
}

TEST(diverging_map_is_brightest_in_the_middle)
{
    for (int i = 0; i < 32; i++) {
        CHECK(luminance(lm_colormap_rgb(LM_COLORMAP_COOLWARM, i / 64.0)) <
              luminance(lm_colormap_rgb(LM_COLORMAP_COOLWARM, (i + 1) / 64.0)));
        CHECK(luminance(lm_colormap_rgb(LM_COLORMAP_COOLWARM, 1 - i / 64.0)) <
              luminance(lm_colormap_rgb(LM_COLORMAP_COOLWARM, 1 - (i + 1) / 64.0)));
    }
}

TEST(missing_is_far_from_every_colour_of_its_map)
{
    for (int m = LM_COLORMAP_GRAY; m <= LM_COLORMAP_COOLWARM; m++) {
        uint32_t missing = lm_colormap_missing((lm_colormap)m);
        EQUAL_INT(lm_colormap_rgb((lm_colormap)m, NAN), missing);
        for (int i = 0; i <= 255; i++) {
            uint32_t rgb = lm_colormap_rgb((lm_colormap)m, i / 255.0);
            double far = 0;
            for (int shift = 0; shift < 24; shift += 8)
                far += pow((double)(rgb >> shift & 255) - (double)(missing >> shift & 255), 2);
            /* 40 levels: an obvious difference of hue */
            if (!(sqrt(far) >= 40)) FAIL("%s: %d/255 is %.0f from missing", lm_colormap_names[m], i, sqrt(far));
        }
    }
}

TEST(names_follow_the_enum)
{
    EQUAL_TEXT(lm_colormap_names[LM_COLORMAP_GRAY_R], "gray_r");
    EQUAL_TEXT(lm_colormap_names[LM_COLORMAP_INFERNO], "inferno");
    EQUAL_TEXT(lm_colormap_names[LM_COLORMAP_COOLWARM], "coolwarm");
    CHECK(!lm_colormap_names[LM_COLORMAP_COOLWARM + 1]);
}
