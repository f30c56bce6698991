/* A board with a clock, and with BENCH_METER a meter, as firmware/core/proto.c treats them around a step. Reading the meter costs nothing
 * here: what is counted is the core's own work with what it reads. */
#ifndef BENCH_METERED_H
#define BENCH_METERED_H

#include "el_power.h"

/* As the port cmsdk has it. A us of the guest is a thousand instructions, not the 25 of a core at 25 MHz that does one a cycle: periods are
 * shorter by that. */
#define FPGA_COUNTER (*(volatile uint32_t *)(EL_FPGA + 0x18u))
#define TOO_FAST 40u

static uint32_t hal_now_us(void *ctx) {
  (void)ctx;
  return FPGA_COUNTER;
}

static int meter_synthetic(void *ctx, int32_t *out_ua, uint32_t *out_mv) {
  (void)ctx;
  *out_ua = 5123;
  *out_mv = 3300;
  return EL_METER_VALUE;
}

#if BENCH_METER
static el_power power = {EL_POWER_BY_CORE, .read = meter_synthetic, .name = "", .every_us = BENCH_METER / TOO_FAST, .synthetic = 1};
#define BENCH_POWER &power
#else
#define BENCH_POWER 0
#endif

static el_hal hal = {.board = EL_BOARD_ID, .now_us = hal_now_us, .power = BENCH_POWER};
#define BENCH_HAL &hal

/* As the link does before and after a step. What it does while nothing has come takes no time of anybody's. */
static void moment(uint8_t what) {
  const el_hal *volatile board = &hal; /* not known to the compiler, as behind a link */
  if (board->power) board->power->moment(board, what);
}

#endif
