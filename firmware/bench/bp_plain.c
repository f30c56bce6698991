/* Backpropagation as anyone would write it down first: naive loops, nothing skipped. */
#include "bp.h"

void bp_forward(const float *layer, const float *x, float *y, int n_out, int n_in, bool relu) {
  const float *bias = layer + n_out * n_in;
  for (int o = 0; o < n_out; o++) {
    float sum = bias[o];
    for (int i = 0; i < n_in; i++) sum += layer[o * n_in + i] * x[i];
    y[o] = relu && sum < 0 ? 0 : sum;
  }
}

void bp_backward(float *layer, const float *x, const float *d, float *d_in, int n_out, int n_in, float rate) {
  float *bias = layer + n_out * n_in;
  for (int i = 0; d_in && i < n_in; i++) {
    float sum = 0;
    for (int o = 0; o < n_out; o++) sum += layer[o * n_in + i] * d[o];
    d_in[i] = x[i] > 0 ? sum : 0;
  }
  for (int o = 0; o < n_out; o++) {
    const float step = rate * d[o];
    for (int i = 0; i < n_in; i++) layer[o * n_in + i] -= step * x[i];
    bias[o] -= step;
  }
}
