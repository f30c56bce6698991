/* Backpropagation in place, batch 1: the kernels that bp_plain.c and bp_careful.c write each in its own way.
 *
 * A layer is its weights [n_out][n_in], row by row, followed by its biases [n_out].
 */
#ifndef BP_H
#define BP_H

#include <stdbool.h>

/* y = W x + b, and ReLU of it. */
void bp_forward(const float *layer, const float *x, float *y, int n_out, int n_in, bool relu);

/* From the loss's gradient d at the layer's output: d_in = (W^T d) where x > 0, unless d_in is NULL, with W as it was;
 * then W -= rate d x^T and b -= rate d. */
void bp_backward(float *layer, const float *x, const float *d, float *d_in, int n_out, int n_in, float rate);

#endif
