/* Backpropagation by someone who cares for every instruction: four rows at once, so that an input is loaded once for four
 * weights; eight columns per turn of the loop; rows whose delta is zero are skipped; a weight is loaded once for both its
 * share of the gradient and its update. */
#include "bp.h"

#define INLINE static inline __attribute__((always_inline))

enum { ROWS = 4, WIDE = 8 };
#define EACH_ROW(r) _Pragma("GCC unroll 4") for (int r = 0; r < rows; r++)
#define EACH_COLUMN(k) _Pragma("GCC unroll 8") for (int k = 0; k < WIDE; k++)

/* sum[r] = bias[r] + row r . x, for `rows` (a constant) rows. */
INLINE void dot(const float *w, const float *bias, const float *x, float *sum, int rows, int n) {
  float acc[ROWS];
  EACH_ROW(r) acc[r] = bias[r];
  int i = 0;
  for (; i + WIDE <= n; i += WIDE) {
    EACH_COLUMN(k) EACH_ROW(r) acc[r] += w[r * n + i + k] * x[i + k];
  }
  for (; i < n; i++) EACH_ROW(r) acc[r] += w[r * n + i] * x[i];
  EACH_ROW(r) sum[r] = acc[r];
}

void bp_forward(const float *layer, const float *x, float *y, int n_out, int n_in, bool relu) {
  const float *bias = layer + n_out * n_in;
  int o = 0;
  for (; o + ROWS <= n_out; o += ROWS) dot(layer + o * n_in, bias + o, x, y + o, ROWS, n_in);
  for (; o < n_out; o++) dot(layer + o * n_in, bias + o, x, y + o, 1, n_in);
  for (o = 0; relu && o < n_out; o++)
    if (y[o] < 0) y[o] = 0;
}

/* Column i of the rows w: d_in gets its share while the weights are old. */
INLINE void update_column(float *const *w, const float *d, const float *step, float x, float *d_in, int rows, int i) {
  float back = d_in ? d_in[i] : 0;
  EACH_ROW(r) {
    const float old = w[r][i];
    if (d_in) back += old * d[r];
    w[r][i] = old - step[r] * x;
  }
  if (d_in) d_in[i] = back;
}

INLINE void update(float *const *w, const float *d, const float *x, float *d_in, int rows, int n, float rate) {
  float step[ROWS];
  EACH_ROW(r) step[r] = rate * d[r];
  int i = 0;
  for (; i + WIDE <= n; i += WIDE) {
    EACH_COLUMN(k) update_column(w, d, step, x[i + k], d_in, rows, i + k);
  }
  for (; i < n; i++) update_column(w, d, step, x[i], d_in, rows, i);
}

/* Gathers rows that have something to learn and updates them by fours. */
INLINE void backward(float *w, const float *x, const float *d, float *d_in, int n_out, int n_in, float rate) {
  float *live[ROWS], d_live[ROWS];
  int n = 0;
  for (int o = 0; o < n_out; o++) {
    if (d[o] == 0) continue;
    live[n] = w + o * n_in;
    d_live[n++] = d[o];
    if (n < ROWS) continue;
    update(live, d_live, x, d_in, ROWS, n_in, rate);
    n = 0;
  }
  while (n-- > 0) update(live + n, d_live + n, x, d_in, 1, n_in, rate);
}

void bp_backward(float *layer, const float *x, const float *d, float *d_in, int n_out, int n_in, float rate) {
  float *bias = layer + n_out * n_in;
  for (int o = 0; o < n_out; o++) bias[o] -= rate * d[o];
  if (!d_in) {
    backward(layer, x, d, 0, n_out, n_in, rate);
    return;
  }
  for (int i = 0; i < n_in; i++) d_in[i] = 0;
  backward(layer, x, d, d_in, n_out, n_in, rate);
  for (int i = 0; i < n_in; i++)
    if (x[i] <= 0) d_in[i] = 0;
}
