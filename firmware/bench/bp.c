/* The baseline: a multilayer perceptron (ReLU, softmax cross-entropy) trained by backpropagation and SGD, float, batch 1.
 * How fast depends on the kernels that it is linked with. */
#include "bp.h"

#include <math.h>

#include "bench_data.h"
#include "bench_net.h"

static const uint16_t widths[] = {BENCH_WIDTHS};
enum { LAYERS = sizeof widths / sizeof widths[0] - 1 };

static float params[BENCH_PARAMS];
static float units[BENCH_UNITS];                 /* input and activations of all layers, in order */
static float deltas[BENCH_UNITS - BENCH_INPUT];  /* the loss's gradient at each unit but the input */

static float uniform(uint32_t *state) { /* [-1, 1) */
  *state = *state * 1664525u + 1013904223u;
  return (float)(int32_t)*state * 0x1p-31f;
}

int net_init(uint32_t seed) {
  float *p = params;
  for (int l = 0; l < LAYERS; l++) {
    const float bound = sqrtf(6.0f / widths[l]); /* He */
    for (int i = 0; i < widths[l] * widths[l + 1]; i++) *p++ = bound * uniform(&seed);
    for (int o = 0; o < widths[l + 1]; o++) *p++ = 0;
  }
  return 0;
}

static int layer_size(int l) { return widths[l + 1] * (widths[l] + 1); }

/* Returns the last layer's outputs. */
static const float *forward(const uint8_t *sample) {
#pragma GCC unroll 8
  for (int i = 0; i < BENCH_INPUT; i++) units[i] = (float)sample[i] * (1.0f / BENCH_FULL);
  float *x = units;
  const float *layer = params;
  for (int l = 0; l < LAYERS; l++) {
    bp_forward(layer, x, x + widths[l], widths[l + 1], widths[l], l + 1 < LAYERS);
    layer += layer_size(l);
    x += widths[l];
  }
  return x;
}

static int argmax(const float *y) {
  int best = 0;
  for (int o = 1; o < BENCH_CLASSES; o++)
    if (y[o] > y[best]) best = o;
  return best;
}

/* d = softmax(y) - one_hot(label), shifted so that exp cannot overflow. */
static void loss_gradient(const float *y, float *d, uint16_t label) {
  const float top = y[argmax(y)];
  float sum = 0;
  for (int o = 0; o < BENCH_CLASSES; o++) sum += d[o] = expf(y[o] - top);
  const float scale = 1.0f / sum;
  for (int o = 0; o < BENCH_CLASSES; o++) d[o] *= scale;
  d[label] -= 1.0f;
}

void net_train(const uint8_t *sample, uint16_t label) {
  const float *x = forward(sample);
  float *d = deltas + (x - units) - BENCH_INPUT;
  float *layer = params + BENCH_PARAMS;
  loss_gradient(x, d, label);
  for (int l = LAYERS; l-- > 0;) {
    float *d_in = l ? d - widths[l] : 0;
    layer -= layer_size(l);
    x -= widths[l];
    bp_backward(layer, x, d, d_in, widths[l + 1], widths[l], BENCH_RATE);
    d = d_in;
  }
}

uint16_t net_infer(const uint8_t *sample) { return (uint16_t)argmax(forward(sample)); }

uint32_t net_state_bytes(void) { return sizeof params + sizeof units + sizeof deltas; }
