/* The shapes of operands where a kernel is moved over a map, or a map is cut into windows: is every place that will be reached inside of
 * its tensor? Part of the verifier, and apart from plan.c so that an image without such kernels leaves it out. */
#include "el_kernel.h"

/* What the operands of one op have said so far; 0 and NULL: nothing yet. */
typedef struct shapes {
  uint32_t rows, cols;              /* elements of a vector along either side of the kernel */
  EL_PLAN uint8_t *kernel, *in, *out; /* records of a kernel and of the maps before and after it; a pool has no kernel */
  uint8_t depthwise;
} shapes;

static uint32_t rows_of(EL_PLAN uint8_t *t) { return el_plan16(t + EL_TENSOR_ROWS); }
static uint32_t cols_of(EL_PLAN uint8_t *t) { return el_plan16(t + EL_TENSOR_COLS); }
static uint32_t width_of(EL_PLAN uint8_t *t) { return el_plan16(t + EL_TENSOR_WIDTH); }

/* A map has rows of `width` positions. Two that stand on the same side of a kernel are of one shape. */
static int is_map(EL_PLAN uint8_t **side, EL_PLAN uint8_t *t) {
  EL_PLAN uint8_t *other = *side ? *side : t;
  *side = t;
  return width_of(t) && rows_of(t) % width_of(t) == 0 && rows_of(t) == rows_of(other) && cols_of(t) == cols_of(other) &&
         width_of(t) == width_of(other);
}

static int is_kernel(EL_PLAN uint8_t *t, shapes *s, uint8_t depthwise) {
  uint32_t area = width_of(t) * width_of(t);
  s->kernel = t;
  s->depthwise = depthwise;
  s->rows = depthwise ? el_tensor_elements(t) : rows_of(t);
  s->cols = cols_of(t);
  if (area == 0 || (t[EL_TENSOR_GEO] & ((1u << EL_GEO_PAD_SHIFT) - 1)) == 0) return 0;
  return depthwise ? rows_of(t) == area : cols_of(t) % area == 0;
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
    case EL_POOLED: s->out = t; return 1;
    default: return 0;
  }
}

/* A kernel of k places, moved by `stride` over `in` positions and `pad` more on either side, has `out` positions. */
static int reaches(uint32_t in, uint32_t out, uint32_t k, uint8_t geo) {
  uint32_t stride = geo & ((1u << EL_GEO_PAD_SHIFT) - 1), padded = in + 2 * (uint32_t)(geo >> EL_GEO_PAD_SHIFT);
  return k <= padded && (padded - k) / stride + 1 == out;
}

static int conv_fits(const shapes *s) {
  uint32_t k = width_of(s->kernel), in = width_of(s->in), out = width_of(s->out);
  uint32_t channels = s->depthwise ? s->cols : s->cols / (k * k), made = s->depthwise ? s->cols : s->rows;
  uint8_t geo = s->kernel[EL_TENSOR_GEO];
  return cols_of(s->in) == channels && cols_of(s->out) == made && reaches(in, out, k, geo) &&
         reaches(rows_of(s->in) / in, rows_of(s->out) / out, k, geo);
}

/* Windows do not overlap and leave nothing over; one of 0 is the whole map. */
static int pool_fits(const shapes *s, uint32_t window) {
  uint32_t width = width_of(s->in), height = rows_of(s->in) / width;
  if (window == 0) return el_tensor_elements(s->out) == cols_of(s->in);
  return width % window == 0 && height % window == 0 &&
         el_tensor_elements(s->out) == (width / window) * (height / window) * cols_of(s->in);
}

int el_check_map_shapes(EL_ROM el_signature *sig, EL_PLAN uint8_t *const *t, uint8_t id) {
  shapes s = {0, 0, 0, 0, 0, 0};
  for (uint8_t i = 0, args = el_rom_u8(&sig->args); i < args; i++)
    if (!is_shape(el_rom_u16(&sig->arg[i]), t[i], &s)) return EL_ERR_OPERAND;
  if (!s.in || !s.out) return EL_ERR_OPERAND; /* no signature is so */
  return (s.kernel ? conv_fits(&s) : pool_fits(&s, id)) ? EL_OK : EL_ERR_OPERAND;
}
