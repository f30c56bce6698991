/* Loops over weights of one type; el_dot.h includes this file once with EL_WEIGHT int8_t and once with int16_t. No guard: that is
 * the point. Sums wrap where 32 bits do not hold them; the compiler refuses nets that could come so far. */

#define EL_JOIN2(name, type) name##_##type
#define EL_JOIN(name, type) EL_JOIN2(name, type)
#define EL_LOOP(name) EL_JOIN(name, EL_SUFFIX)

#ifndef EL_HAS_VIEW4
/* out[j] = sum of w_j x over what a kernel sees, for four output channels. */
EL_ALONE static void EL_LOOP(el_view4)(const EL_WEIGHT *w, const int8_t *x, const el_view *v, int32_t out[4]) {
  uint32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0, c = v->w_next;
  for (uint32_t rows = v->rows; rows--; w += v->w_row, x += v->x_row) {
    const EL_WEIGHT *w0 = w, *w2 = w + 2 * c;
    const int8_t *p = x, *end = x + v->run;
    for (; p < end; p++, w0++, w2++) {
      int32_t u = *p;
      if (!u) continue;
      z0 += (uint32_t)(w0[0] * u);
      z1 += (uint32_t)(w0[c] * u);
      z2 += (uint32_t)(w2[0] * u);
      z3 += (uint32_t)(w2[c] * u);
    }
  }
  out[0] = (int32_t)z0;
  out[1] = (int32_t)z1;
  out[2] = (int32_t)z2;
  out[3] = (int32_t)z3;
}
#endif

/* sum of w x over what a kernel sees, for one output channel. */
static inline int32_t EL_LOOP(el_view1)(const EL_WEIGHT *w, const int8_t *x, const el_view *v) {
  uint32_t z = 0;
  for (uint32_t rows = v->rows; rows--; w += v->w_row, x += v->x_row) z += (uint32_t)EL_ROW(w, x, v->run);
  return (int32_t)z;
}

/* out[j] = sum of w x over what n <= 4 channels of a depthwise kernel see. */
EL_ALONE static void EL_LOOP(el_depth)(const EL_WEIGHT *w, const int8_t *x, const el_window *v, uint32_t n, int32_t out[4]) {
  uint32_t z[4] = {0, 0, 0, 0}, c = v->channels;
  for (uint32_t rows = v->view.rows; rows--; w += v->view.w_row, x += v->view.x_row) {
    const EL_WEIGHT *p = w;
    for (const int8_t *q = x, *end = x + v->view.run; q < end; p += c, q += c) {
      if (n == 4) {
        z[0] += (uint32_t)((int32_t)p[0] * q[0]);
        z[1] += (uint32_t)((int32_t)p[1] * q[1]);
        z[2] += (uint32_t)((int32_t)p[2] * q[2]);
        z[3] += (uint32_t)((int32_t)p[3] * q[3]);
      } else
        for (uint32_t j = 0; j < n; j++) z[j] += (uint32_t)((int32_t)p[j] * q[j]);
    }
  }
  for (uint32_t j = 0; j < n; j++) out[j] = (int32_t)z[j];
}

/* sum_i w[i * step] d[i] for errors d. */
EL_ALONE static int32_t EL_LOOP(el_column)(const EL_WEIGHT *w, uint32_t step, const int16_t *d, uint32_t n) {
  uint32_t z = 0;
  for (const int16_t *end = d + n; d < end; d++, w += step) z += (uint32_t)((int32_t)*w * *d);
  return (int32_t)z;
}

#if !defined(EL_HAS_COLUMNS4) && !defined(EL_THIS_COLUMNS4)
/* z[j] += sum_i w[i * step + j] d[i] for four neighbours. */
EL_ALONE static void EL_LOOP(el_columns4)(const EL_WEIGHT *w, uint32_t step, const int16_t *d, uint32_t n, int32_t z[4]) {
  uint32_t z0 = (uint32_t)z[0], z1 = (uint32_t)z[1], z2 = (uint32_t)z[2], z3 = (uint32_t)z[3];
  for (const int16_t *end = d + n; d < end; d++, w += step) {
    int32_t u = *d;
    if (!u) continue;
    z0 += (uint32_t)(w[0] * u);
    z1 += (uint32_t)(w[1] * u);
    z2 += (uint32_t)(w[2] * u);
    z3 += (uint32_t)(w[3] * u);
  }
  z[0] = (int32_t)z0;
  z[1] = (int32_t)z1;
  z[2] = (int32_t)z2;
  z[3] = (int32_t)z3;
}
#endif

#ifndef EL_HAS_SETTLE
/* w[i] -= floor((sums[i] + r) / 2^16) where a sum is not zero, saturated; r are the top 16 bits of a Weyl sequence. */
EL_ALONE static void EL_LOOP(el_settle)(EL_WEIGHT *w, const int32_t *sums, uint32_t n, uint32_t weyl, int32_t limit) {
  for (const int32_t *end = sums + n; sums < end; sums++, w++, weyl += EL_RNG_COLUMN)
    if (*sums) *w = (EL_WEIGHT)el_clamp(*w - ((int32_t)((uint32_t)*sums + (weyl >> 16)) >> 16), limit);
}
#endif

#undef EL_JOIN2
#undef EL_JOIN
#undef EL_LOOP
