/* The little that a bench image needs of its board: a clock, a way to say something, the memory that is left, and how deep the
 * stack went. bench_board.c has what all boards share, bench_cortexm.c and bench_riscv.c what their cores bring. */
#ifndef BENCH_BOARD_H
#define BENCH_BOARD_H

#include <stddef.h>
#include <stdint.h>

void board_clock_start(void);
uint32_t board_ticks(void); /* rises, wraps after 2^32 */

void board_print(const char *text);

/* All RAM that the image itself leaves free. */
uint8_t *board_pool(uint32_t *out_bytes);

void board_stack_paint(void);
uint32_t board_stack_used(void); /* bytes touched since it was painted */

/* A loop of exactly this many instructions, to find out how many make a tick. */
#define BOARD_LOOP_INSTRUCTIONS 20000000u
void board_loop(void);

/* --- between bench_board.c and the core's file --- */

/* Memory is as the linker left it and there is a stack: prepares the one, runs main and leaves with what it returns. */
_Noreturn void board_start(void);

_Noreturn void board_fault(void);

/* Asks QEMU for something by semihosting. */
void board_semihost(uint32_t operation, const void *block);

#endif
