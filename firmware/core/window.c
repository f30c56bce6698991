/* Borders: see el_window.h. */
#include "el_window.h"

void el_window_of(el_window *v, const el_arg *W, const el_arg *in, const el_arg *out) {
  v->width = (uint16_t)el_width(in);
  v->height = in->rows / v->width;
  v->channels = in->cols;
  v->out_width = (uint16_t)el_width(out);
  v->out_height = out->rows / v->out_width;
  v->k = (uint8_t)el_width(W); /* its square fits 16 bits */
  v->stride = el_stride(W);
  v->pad = el_pad(W);
  v->view.w_row = (uint32_t)v->k * v->channels;
  v->view.x_row = (uint32_t)v->width * v->channels;
  v->view.w_next = W->cols;
}

/* Along one side: `count` from `from` on, the first of which meets `first` of the other map. */
typedef struct span {
  uint32_t from, count, first;
} span;

/* Places of the kernel that lie on a side of `size` positions, seen from its position `o`. */
static span seen(const el_window *v, uint32_t o, uint32_t size) {
  uint32_t at = o * v->stride, end = size + v->pad;
  span s = {at < v->pad ? v->pad - at : 0, 0, 0};
  end = end > at ? end - at : 0;
  if (end > v->k) end = v->k;
  if (end > s.from) {
    s.count = end - s.from;
    s.first = at + s.from - v->pad;
  }
  return s;
}

/* Places that see position `p`, of a kernel that has `size` positions. */
static span seen_by(const el_window *v, uint32_t p, uint32_t size) {
  uint32_t at = p + v->pad;
  span s = {at % v->stride, 0, at / v->stride};
  if (s.first >= size) {
    s.from += (s.first - (size - 1)) * v->stride;
    s.first = size - 1;
  }
  if (s.from < v->k) {
    uint32_t more = ((uint32_t)v->k - 1 - s.from) / v->stride;
    s.count = 1 + (more < s.first ? more : s.first);
  }
  return s;
}

/* Positions of the kernel, of `size`, from which a place of it lies on a side of `in` positions. */
static span seen_from(const el_window *v, uint32_t place, uint32_t in, uint32_t size) {
  uint32_t end = in + v->pad;
  span s = {place < v->pad ? (v->pad - place + v->stride - 1) / v->stride : 0, 0, 0};
  end = end > place ? (end - place - 1) / v->stride + 1 : 0;
  if (end > size) end = size;
  if (end > s.from) {
    s.count = end - s.from;
    s.first = s.from * v->stride + place - v->pad;
  }
  return s;
}

void el_see(el_window *v, uint32_t row, uint32_t col) {
  span rows = seen(v, row, v->height), cols = seen(v, col, v->width);
  v->view.rows = rows.count;
  v->cols = cols.count;
  v->view.run = cols.count * v->channels;
  v->w = rows.from * v->view.w_row + cols.from * v->channels;
  v->x = rows.first * v->view.x_row + cols.first * v->channels;
}

void el_see_back(el_window *v, uint32_t row, uint32_t col) {
  span rows = seen_by(v, row, v->out_height), cols = seen_by(v, col, v->out_width);
  v->view.rows = rows.count;
  v->cols = cols.count;
  v->w = rows.from * v->k + cols.from;
  v->x = rows.first * v->out_width + cols.first;
}

void el_see_from(el_window *v, uint32_t row, uint32_t col) {
  span rows = seen_from(v, row, v->height, v->out_height), cols = seen_from(v, col, v->width, v->out_width);
  v->view.rows = rows.count;
  v->cols = cols.count;
  v->w = rows.from * v->out_width + cols.from;
  v->x = rows.first * v->width + cols.first;
}
