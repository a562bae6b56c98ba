/* Colour maps: from a shade t in [0, 1] to red, green, blue.
 *
 *   gray, gray_r                black to white; white to black, as on a photographic plate
 *   viridis, inferno, magma     perceptually uniform, dark to bright (van der Walt & Smith 2015, public domain)
 *   coolwarm                    blue over light grey to red, for values about zero (Moreland 2009)
 *
 * The maps are kept as 33 colours, with straight lines between them: within 2 parts in 255 of the published tables.
 */
#ifndef LM_CORE_COLORMAP_H
#define LM_CORE_COLORMAP_H

#include <stdint.h>

typedef enum lm_colormap {
    LM_COLORMAP_GRAY,
    LM_COLORMAP_GRAY_R,
    LM_COLORMAP_VIRIDIS,
    LM_COLORMAP_INFERNO,
    LM_COLORMAP_MAGMA,
    LM_COLORMAP_COOLWARM,
} lm_colormap;
extern const char *const lm_colormap_names[]; /* in the order of the enum, then NULL */

/* 0xRRGGBB, sRGB. t outside [0, 1] is the nearer end; NaN is the colour of missing pixels, which no map holds. */
uint32_t lm_colormap_rgb(lm_colormap map, double t);
/* The colour of missing pixels in pictures of this map: one that the map does not come near. */
uint32_t lm_colormap_missing(lm_colormap map);

#endif
