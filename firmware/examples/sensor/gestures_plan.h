/* gestures: made by edgelearn from rule mono-forward, int8; state 886 bytes, arena 124 bytes;
 * plan 0x390831f3. */
#ifndef EL_PLAN_GESTURES_H
#define EL_PLAN_GESTURES_H
#include "edgelearn.h"
#include "el_hal.h"

#define EL_APP_STATE_BYTES 886
#define EL_APP_ARENA_BYTES 124
#define EL_APP_POOL_BYTES 1012 /* _Alignas(8) static uint8_t pool[EL_APP_POOL_BYTES]; 7 more if not aligned */
#define EL_APP_INPUTS 48 /* int8_t: the real value times 2^-EL_APP_INPUT_EXP */
#define EL_APP_INPUT_EXP (-6)
#define EL_APP_CLASSES 3

extern const uint32_t el_app_plan_bytes;
extern EL_ROM uint8_t el_app_plan[];
#endif
