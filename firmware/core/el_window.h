/* A kernel on its way over a map, for integers and floats alike: which of its places lie on the map, and where. el_verify has seen to
 * it that kernel and maps fit. */
#ifndef EL_WINDOW_H
#define EL_WINDOW_H

#include "el_kernel.h"

/* What a kernel sees: `rows` runs of `run` inputs, each beside as many weights. */
typedef struct el_view {
  uint32_t rows, run;
  uint32_t w_row, x_row; /* elements from one run to the next */
  uint32_t w_next;       /* and from one output channel's weights to the next's */
} el_view;

typedef struct el_window {
  uint16_t height, width, channels; /* of the map that the kernel reads */
  uint16_t out_height, out_width;   /* of the map that it makes */
  uint8_t k, stride, pad;
  el_view view;     /* from where it is now */
  uint32_t cols;    /* columns of the kernel that count there */
  uint32_t w, x;    /* the first element of kernel and map */
} el_window;

/* What a pool makes one position of: as wide as the op's id says, and 0 is all of the map. */
typedef struct el_pool {
  uint32_t rows, cols;
} el_pool;

static inline el_pool el_pool_of(const el_run *run, const el_arg *map) {
  uint32_t size = run->op[EL_OP_ID], width = el_width(map);
  return size ? (el_pool){size, size} : (el_pool){map->rows / width, width};
}

/* Sets all but where it is. */
void el_window_of(el_window *v, const el_arg *W, const el_arg *in, const el_arg *out);

/* What the kernel sees from its position (row, col): w is an element of it, x one of the map. */
void el_see(el_window *v, uint32_t row, uint32_t col);

/* The other way: the places that saw position (row, col) of the map. The first is w, and saw it from position x of the map that the kernel
 * makes; the next is `stride` further, and saw it from one position less, in both directions. Here w and x count places and positions. */
void el_see_back(el_window *v, uint32_t row, uint32_t col);

/* Where a place of the kernel sees the map from: rows x cols positions, the first of them w, where it sees position x of the map. */
void el_see_from(el_window *v, uint32_t row, uint32_t col);

#endif
