#include "operators/core/colormap.h"

#include <math.h>

const char *const lm_colormap_names[] = {"gray", "gray_r", "viridis", "inferno", "magma", "coolwarm", 0};

enum { NODES = 33 };

static const uint32_t viridis[NODES] = {
    0x440154, 0x470D60, 0x48186A, 0x482374, 0x472D7B, 0x453681, 0x424086, 0x3F4989, 0x3B528B, 0x375A8D, 0x33638D,
    0x2F6A8E, 0x2C728E, 0x297A8E, 0x26818E, 0x23898E, 0x21908C, 0x1F988B, 0x1F9F88, 0x21A685, 0x28AE80, 0x31B57B,
    0x3EBC74, 0x4CC26C, 0x5DC963, 0x6ECE58, 0x82D34C, 0x96D83F, 0xABDC32, 0xC0DF24, 0xD5E21A, 0xEAE51A, 0xFDE725};
static const uint32_t inferno[NODES] = {
    0x000004, 0x040312, 0x0B0724, 0x150B37, 0x210C4A, 0x2E0A5A, 0x3C0965, 0x4A0C6B, 0x57106D, 0x63146E, 0x70196E,
    0x7D1E6D, 0x89226A, 0x962766, 0xA32B61, 0xAF315C, 0xBB3755, 0xC63E4D, 0xD14644, 0xDB4F3B, 0xE35932, 0xEB6528,
    0xF1711E, 0xF67F14, 0xF98D0A, 0xFB9C06, 0xFCAB0F, 0xFBBA1F, 0xF9CA32, 0xF5D949, 0xF2E865, 0xF3F586, 0xFCFFA4};
static const uint32_t magma[NODES] = {
    0x000004, 0x030311, 0x0A0822, 0x130D33, 0x1D1146, 0x28115A, 0x36106A, 0x430F76, 0x50127C, 0x5D177F, 0x691C81,
    0x762181, 0x822681, 0x8F2A81, 0x9C2E7F, 0xA9327D, 0xB63779, 0xC33B75, 0xCF4170, 0xDB486A, 0xE65163, 0xEE5C5E,
    0xF5695C, 0xF9785D, 0xFB8761, 0xFD9668, 0xFEA571, 0xFEB47B, 0xFEC387, 0xFED194, 0xFDE0A2, 0xFCEEB0, 0xFCFDBF};
static const uint32_t coolwarm[NODES] = {
    0x3B4CC0, 0x445ACC, 0x4E68D7, 0x5875E1, 0x6282EA, 0x6C8EF1, 0x779AF7, 0x82A5FB, 0x8DB0FE, 0x98B9FF, 0xA3C2FF,
    0xAEC9FD, 0xB8D0F9, 0xC2D5F4, 0xCCD9EE, 0xD5DBE6, 0xDDDDDD, 0xE5D8D1, 0xECD3C6, 0xF1CCB9, 0xF5C4AD, 0xF7BBA0,
    0xF7B194, 0xF7A687, 0xF49A7B, 0xF18D6F, 0xEC7F63, 0xE57057, 0xDE614C, 0xD55042, 0xCB3E38, 0xC0282F, 0xB40426};

static uint32_t between(const uint32_t *nodes, double t)
{
    double place = t * (NODES - 1);
    int node = (int)place;
    if (node > NODES - 2) node = NODES - 2;
    double part = place - node;
    uint32_t color = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
        double a = nodes[node] >> shift & 255, b = nodes[node + 1] >> shift & 255;
        color |= (uint32_t)lround(a + part * (b - a)) << shift;
    }
    return color;
}

uint32_t lm_colormap_missing(lm_colormap map)
{
    if (map == LM_COLORMAP_VIRIDIS) return 0xD62728; /* red: viridis runs from purple over green to yellow */
    return 0x2CA089; /* a green that the others, greys, fires, blues and reds, do not hold */
}

uint32_t lm_colormap_rgb(lm_colormap map, double t)
{
    if (isnan(t)) return lm_colormap_missing(map);
    t = fmin(fmax(t, 0), 1);
    uint32_t level = (uint32_t)lround(255 * (map == LM_COLORMAP_GRAY_R ? 1 - t : t));
    switch (map) {
    case LM_COLORMAP_VIRIDIS: return between(viridis, t);
    case LM_COLORMAP_INFERNO: return between(inferno, t);
    case LM_COLORMAP_MAGMA: return between(magma, t);
    case LM_COLORMAP_COOLWARM: return between(coolwarm, t);
    case LM_COLORMAP_GRAY:
    case LM_COLORMAP_GRAY_R: break;
    }
    return level << 16 | level << 8 | level;
}
