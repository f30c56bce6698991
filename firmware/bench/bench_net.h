/* What the bench runs: a network that learns from one sample at a time. Each image links exactly one. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stdint.h>

/* Samples are BENCH_INPUT pixels of 0..BENCH_FULL; making numbers of them is part of the work that is counted. */
int net_init(uint32_t seed); /* 0, or a negative code */
void net_train(const uint8_t *sample, uint16_t label);
uint16_t net_infer(const uint8_t *sample);

/* Parameters, gradients and activations; not the stack. */
uint32_t net_state_bytes(void);

#endif
