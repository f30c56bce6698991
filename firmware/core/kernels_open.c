/* Updates by the error of a head that read a map's average: it is the same at all positions of a channel, and counts where the map itself is
 * positive. No map of errors is ever made. Their meaning, bit for bit, is the `i32` column of edgelearn/ir/ops/conv.py: what unpool, mask
 * and the plain update would do. */
#include "el_dot.h"
#include "el_int.h"
#include "el_window.h"

/* One channel of a map, seen from its first position on. */
typedef struct seen {
  const int8_t *mask, *x; /* the channel of the map that is open where it is positive, and what is added up there */
  uint32_t mask_step, mask_row, x_step, x_row; /* elements from one position, and one row of positions, to the next */
  uint32_t rows, cols;
} seen;

/* What places of `n` <= 4 neighbouring inputs saw where the channel is open. */
static void add_up(const seen *s, uint32_t n, int32_t sums[4]) {
  const int8_t *mask_row = s->mask, *x_row = s->x;
  sums[0] = sums[1] = sums[2] = sums[3] = 0;
  for (uint32_t i = 0; i < s->rows; i++, mask_row += s->mask_row, x_row += s->x_row) {
    const int8_t *mask = mask_row, *x = x_row;
    for (uint32_t j = 0; j < s->cols; j++, mask += s->mask_step, x += s->x_step) {
      if (*mask <= 0) continue;
      sums[0] += x[0];
      if (n < 4) {
        for (uint32_t k = 1; k < n; k++) sums[k] += x[k];
        continue;
      }
      sums[1] += x[1];
      sums[2] += x[2];
      sums[3] += x[3];
    }
  }
}

/* From where a place of the kernel sees the map. */
static seen look(el_window *v, const el_arg *mask, const el_arg *x, uint32_t place) {
  el_see_from(v, place / v->k, place % v->k);
  return (seen){
      (const int8_t *)mask->p + v->w * mask->cols, (const int8_t *)x->p + v->x * v->channels, mask->cols, v->out_width * mask->cols,
      v->stride * v->channels, (uint32_t)v->stride * v->width * v->channels, v->view.rows, v->cols,
  };
}

/* w -= floor((total + r) / 2^16) for element i. */
static void settle(const el_arg *W, uint32_t i, int32_t total, uint32_t r, int32_t limit) {
  if (total) el_store(W->p, W->dtype, i, el_clamp(el_load_q(W, i) - ((int32_t)((uint32_t)total + (r >> 16)) >> 16), limit));
}

static int32_t times(int32_t k, int32_t sum) { return (int32_t)((uint32_t)k * (uint32_t)sum); } /* a damaged plan's may wrap */

void el_k_conv_update_open(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0], *mask = &a[2], *x = &a[3];
  el_window v;
  el_rate rate = el_summed_rate(run, W, &a[1], x->e, mask->rows);
  int32_t limit = el_weight_limit(run->slots, W), sums[4];
  uint32_t r = el_update_dither(run);
  el_window_of(&v, W, x, mask);
  for (uint32_t row = 0; row < W->rows; row++, r += EL_RNG_ROW) {
    int32_t d = el_load_q(&a[1], row), k = d ? el_k_of(&rate, d) : 0;
    if (!k) continue;
    for (uint32_t at = 0, place = 0; at < W->cols; place++) {
      seen s = look(&v, mask, x, place);
      s.mask += row;
      for (uint32_t c = 0, n; c < v.channels; c += n, at += n, s.x += n) {
        n = v.channels - c < 4 ? v.channels - c : 4;
        add_up(&s, n, sums);
        for (uint32_t j = 0; j < n; j++) settle(W, row * W->cols + at + j, times(k, sums[j]), r + (at + j) * EL_RNG_COLUMN, limit);
      }
    }
  }
}

void el_k_depthwise_update_open(el_run *run, const el_arg *a) {
  const el_arg *W = &a[0], *mask = &a[2], *x = &a[3];
  el_window v;
  el_rate rate = el_summed_rate(run, W, &a[1], x->e, mask->rows);
  int32_t limit = el_weight_limit(run->slots, W), sums[4];
  uint32_t r = el_update_dither(run);
  el_window_of(&v, W, x, mask);
  for (uint32_t place = 0, at = 0; place < W->rows; place++) {
    seen s = look(&v, mask, x, place);
    for (uint32_t c = 0; c < W->cols; c++, at++, s.mask++, s.x++) {
      int32_t d = el_load_q(&a[1], c), k = d ? el_k_of(&rate, d) : 0;
      if (!k) continue;
      add_up(&s, 1, sums);
      settle(W, at, times(k, sums[0]), r + at * EL_RNG_COLUMN, limit);
    }
  }
}

void el_k_vec_update_open(el_run *run, const el_arg *a) {
  const el_arg *b = &a[0], *mask = &a[2];
  uint32_t r = el_update_dither(run), n = el_elements(b), positions = el_elements(mask) / n;
  el_rate rate = el_summed_rate(run, b, &a[1], 0, positions);
  int32_t limit = el_weight_limit(run->slots, b);
  for (uint32_t i = 0; i < n; i++, r += EL_RNG_ROW) {
    int32_t d = el_load_q(&a[1], i), k = d ? el_k_of(&rate, d) : 0, open = 0;
    const int8_t *p = (const int8_t *)mask->p + i;
    if (!k) continue;
    for (uint32_t j = 0; j < positions; j++, p += n) open += *p > 0;
    settle(b, i, times(k, open), r, limit);
  }
}
