/* The little that a bench image needs of its board: a clock, a way to say something, and how deep the stack went. */
#ifndef BENCH_BOARD_H
#define BENCH_BOARD_H

#include <stdint.h>

void board_clock_start(void);
uint32_t board_ticks(void); /* rises, wraps after 2^32 */

void board_print(const char *text);

void board_stack_paint(void);
uint32_t board_stack_used(void); /* bytes touched since it was painted */

/* A loop of exactly this many instructions, to find out how many make a tick. */
#define BOARD_LOOP_INSTRUCTIONS 20000000u
void board_loop(void);

#endif
