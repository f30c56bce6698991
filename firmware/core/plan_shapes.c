/* The shapes of operands where a kernel is moved over a map, or a map is cut into windows: is every place that will be reached inside of
 * its tensor? Part of the verifier, and apart from plan.c so that an image without such kernels leaves it out. */
#include "el_kernel.h"

/* A map before or after a kernel: its record, NULL as long as no operand was one, and what its rows are. */
typedef struct side {
  EL_PLAN uint8_t *map;
  uint32_t width, height;
} side;

/* What the operands of one op have said so far; 0 and NULL: nothing yet. A pool has no kernel. */
typedef struct shapes {
  uint32_t rows, cols; /* elements of a vector along either side of the kernel */
  EL_PLAN uint8_t *kernel;
  side in, out;
  uint8_t depthwise;
} shapes;

static uint32_t rows_of(EL_PLAN uint8_t *t) { return el_plan16(t + EL_TENSOR_ROWS); }
static uint32_t cols_of(EL_PLAN uint8_t *t) { return el_plan16(t + EL_TENSOR_COLS); }
static uint32_t width_of(EL_PLAN uint8_t *t) { return el_plan16(t + EL_TENSOR_WIDTH); }

/* A map has rows of `width` positions. Two that stand on the same side of a kernel are of one shape. Here alone shapes are divided: a core
 * without a divider takes longer for that than for all else that is asked of an operand. */
static int is_map(side *s, EL_PLAN uint8_t *t) {
  EL_PLAN uint8_t *other = s->map;
  if (other) return rows_of(t) == rows_of(other) && cols_of(t) == cols_of(other) && width_of(t) == width_of(other);
  s->map = t;
  s->width = width_of(t);
  if (s->width == 0) return 0;
  s->height = rows_of(t) / s->width;
  return s->height * s->width == rows_of(t);
}

/* Any: one of no width, or moved by no stride, fits no map. */
static int is_kernel(EL_PLAN uint8_t *t, shapes *s, uint8_t depthwise) {
  s->kernel = t;
  s->depthwise = depthwise;
  s->rows = depthwise ? el_tensor_elements(t) : rows_of(t);
  s->cols = cols_of(t);
  return 1;
}

static int is_shape(uint16_t want, EL_PLAN uint8_t *t, shapes *s) {
  switch (want & EL_SHAPE_BITS) {
    case EL_KERNEL: return is_kernel(t, s, 0);
    case EL_DEPTHWISE: return is_kernel(t, s, 1);
    case EL_ROWS: return el_tensor_elements(t) == s->rows;
    case EL_COLS: return el_tensor_elements(t) == s->cols;
    case EL_MAP_IN:
    case EL_WINDOWS: return is_map(&s->in, t);
    case EL_MAP_OUT: return is_map(&s->out, t);
    case EL_POOLED: s->out.map = t; return 1;
    default: return 0;
  }
}

/* A kernel of k places, moved by `stride` over `in` positions and `pad` more on either side, has `out` positions: the last of them is still
 * inside, and one more would not be. */
static int reaches(uint32_t in, uint32_t out, uint32_t k, uint8_t geo) {
  uint32_t stride = geo & ((1u << EL_GEO_PAD_SHIFT) - 1), padded = in + 2 * (uint32_t)(geo >> EL_GEO_PAD_SHIFT);
  return k <= padded && (out - 1) * stride <= padded - k && padded - k < out * stride;
}

/* All sizes have 16 bits: the product of two fits, and `area` is known to have no more before a third comes in. */
static int conv_fits(const shapes *s) {
  uint32_t k = width_of(s->kernel), area = k * k, channels = cols_of(s->in.map);
  uint8_t geo = s->kernel[EL_TENSOR_GEO];
  if (s->depthwise ? rows_of(s->kernel) != area || s->cols != channels : area > 0xFFFF || s->cols != channels * area) return 0;
  return cols_of(s->out.map) == (s->depthwise ? channels : s->rows) && reaches(s->in.width, s->out.width, k, geo) &&
         reaches(s->in.height, s->out.height, k, geo);
}

/* Windows do not overlap and leave nothing over; one of 0 is the whole map. */
static int pool_fits(const shapes *s, uint32_t window) {
  uint32_t made = el_tensor_elements(s->out.map), channels = cols_of(s->in.map);
  if (window == 0) return made == channels;
  uint32_t across = s->in.width / window, down = s->in.height / window;
  return across * window == s->in.width && down * window == s->in.height && made == across * down * channels;
}

int el_check_map_shapes(EL_ROM el_signature *sig, EL_PLAN uint8_t *const *t, uint8_t id) {
  shapes s = {0};
  for (uint8_t i = 0, args = el_rom_u8(&sig->args); i < args; i++)
    if (!is_shape(el_rom_u16(&sig->arg[i]), t[i], &s)) return EL_ERR_OPERAND;
  if (!s.in.map || !s.out.map) return EL_ERR_OPERAND; /* no signature is so */
  return (s.kernel ? conv_fits(&s) : pool_fits(&s, id)) ? EL_OK : EL_ERR_OPERAND;
}
