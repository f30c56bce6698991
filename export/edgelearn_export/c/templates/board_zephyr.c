/* Any board that Zephyr runs on: text through printk, the kernel's clock. Give nv_* of el_hal.h your flash driver, and it remembers. */
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "board.h"
#include "el_hal.h"

static uint32_t hal_now_us(void *ctx) {
  ARG_UNUSED(ctx);
  return (uint32_t)k_ticks_to_us_floor64(k_uptime_ticks());
}

static const el_hal hal = {.now_us = hal_now_us};

const struct el_hal *board_open(void) { return &hal; }

void board_say(const char *text) { printk("%s", text); }

void board_idle(void) { k_msleep(1); }
