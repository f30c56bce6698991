/* What main.c asks of a board: three functions. board_pc.c has them for a computer. */
#ifndef BOARD_H
#define BOARD_H

#include "@STEM@_net.h"

/* Readies the board. Returns what the runtime may use of it (el_hal.h: all fields may be 0), or NULL: no clock, and no memory that
 * outlives the power. */
const struct el_hal *board_open(void);

/* Writes text to wherever somebody reads it. */
void board_say(const char *text);

/* Waits until the sensor may have something new. */
void board_idle(void);

#endif
