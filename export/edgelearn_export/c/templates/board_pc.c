/* A computer as a board: text on its standard output, and a file in place of flash, if the variable LEARNT names one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "board.h"
#include "el_hal.h"

#define PAGE 1024u
#define SLOT ((EL_APP_STATE_BYTES + 20u + PAGE - 1) / PAGE * PAGE) /* a state with its header, in whole pages */

static const char *file_name;
static uint8_t flash[2 * SLOT];

static uint32_t hal_now_us(void *ctx) {
  struct timespec now;
  (void)ctx;
  return timespec_get(&now, TIME_UTC) ? (uint32_t)now.tv_sec * 1000000u + (uint32_t)(now.tv_nsec / 1000) : 0;
}

static int hal_nv_read(void *ctx, uint32_t off, uint8_t *out, uint32_t n) {
  (void)ctx;
  memcpy(out, flash + off, n);
  return 0;
}

static int hal_nv_erase(void *ctx, uint32_t off) {
  (void)ctx;
  memset(flash + off, 0xFF, PAGE);
  return 0;
}

static int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  FILE *file;
  size_t written;
  (void)ctx;
  memcpy(flash + off, bytes, n);
  file = fopen(file_name, "wb");
  if (!file) return -1;
  written = fwrite(flash, sizeof flash, 1, file);
  return fclose(file) || written != 1 ? -1 : 0;
}

static el_hal hal = {.now_us = hal_now_us, .nv_read = hal_nv_read, .nv_erase = hal_nv_erase, .nv_prog = hal_nv_prog};

/* A file that is missing or too short reads as erased. */
static void open_file(void) {
  FILE *file = fopen(file_name, "rb");
  size_t got = file ? fread(flash, 1, sizeof flash, file) : 0;
  memset(flash + got, 0xFF, sizeof flash - got);
  if (file) fclose(file);
}

const struct el_hal *board_open(void) {
  file_name = getenv("LEARNT");
  if (!file_name || !*file_name) return &hal;
  open_file();
  hal.nv_bytes = sizeof flash;
  hal.nv_page = PAGE;
  return &hal;
}

void board_say(const char *text) { fputs(text, stdout); }

void board_idle(void) {}
