/* order.c: the numbers of the state, or of a staged sample, from the machine's byte order to little-endian or back. */
#ifndef EL_ORDER_H
#define EL_ORDER_H

#include "edgelearn.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define EL_BIG_ENDIAN
#ifdef __cplusplus
extern "C" {
#endif
void el_turn_state(el_t *el);
void el_turn_input(el_t *el);
#ifdef __cplusplus
}
#endif
#else
#define el_turn_state(el) ((void)(el))
#define el_turn_input(el) ((void)(el))
#endif

#endif
