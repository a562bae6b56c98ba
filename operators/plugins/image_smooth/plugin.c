#include "runtime/plugin.h"

extern const lm_operator lm_op_image_smooth, lm_op_image_noise;

LM_PLUGIN_EXPORT("image_smooth", &lm_op_image_smooth, &lm_op_image_noise)
