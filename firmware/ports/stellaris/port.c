/* TI Stellaris LM3S6965, with the 8 MHz crystal of its evaluation kit. Registers: LM3S6965 data sheet, chapters 5 (system
 * control), 8 (GPIO) and 12 (UART, a PL011). */
#include "port.h"

#include "cortexm.h"
#include "received.h"
#include "systick.h"

#define UART_DR REG(EL_UART)
#define UART_FR REG(EL_UART + 0x18u)
#define UART_IBRD REG(EL_UART + 0x24u)
#define UART_FBRD REG(EL_UART + 0x28u)
#define UART_LCRH REG(EL_UART + 0x2Cu)
#define UART_CTL REG(EL_UART + 0x30u)
#define UART_IM REG(EL_UART + 0x38u)
#define UART_ICR REG(EL_UART + 0x44u)
#define DR_OVERRUN (1u << 11)
#define FR_RX_EMPTY (1u << 4)
#define FR_TX_FULL (1u << 5)
#define LCRH_8_BITS_FIFO 0x70u
#define CTL_ENABLE_RX_TX 0x301u
#define INT_RX (1u << 4 | 1u << 6) /* the FIFO fills up, or holds bytes and nothing more comes */
#define BAUD_64TH ((EL_CLOCK * 4u + EL_BAUD / 2u) / EL_BAUD) /* clock / (16 * baud), in 64ths */

#define SYSCTL_RIS REG(0x400FE050u)
#define SYSCTL_RCC REG(0x400FE060u)
#define SYSCTL_RCGC1 REG(0x400FE104u)
#define SYSCTL_RCGC2 REG(0x400FE108u)
#define RIS_PLL_LOCKED (1u << 6)
#define RCC_MAIN_OSC_OFF 1u
#define RCC_SOURCE (3u << 4) /* 0: the main oscillator */
#define RCC_CRYSTAL (0xFu << 6)
#define RCC_CRYSTAL_8_MHZ (0xEu << 6)
#define RCC_BYPASS_PLL (1u << 11)
#define RCC_PLL_OFF (1u << 13)
#define RCC_DIVIDE (1u << 22)
#define RCC_DIVISOR (0xFu << 23)
#define RCC_DIVISOR_OF(clock) ((200000000u / (clock)-1u) << 23) /* of the PLL's 200 MHz */
#define PATIENCE 100000u

#define PORT_A_AFSEL REG(0x40004420u)
#define PORT_A_DEN REG(0x4000451Cu)
#define PINS_RX_TX 3u

void Uart_IRQHandler(void) {
  UART_ICR = INT_RX;
  while (!(UART_FR & FR_RX_EMPTY)) {
    uint32_t data = UART_DR;
    if (data & DR_OVERRUN) ring.overruns++; /* the hardware lost at least one */
    ring_put(&ring, (uint8_t)data);
  }
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    while (UART_FR & FR_TX_FULL) continue;
    UART_DR = *bytes++;
  }
}

static const el_hal hal = {
    .board = EL_BOARD_ID,
    .rx_buffer = EL_RING_BYTES,
    .rx = hal_rx,
    .tx = hal_tx,
    .overruns = hal_overruns,
    .now_us = hal_systick_us,
    .stack_used = hal_stack_used,
};

/* From the oscillator inside, which may be off by 30 %, to crystal and PLL. */
static void start_clock(void) {
  uint32_t rcc = (SYSCTL_RCC | RCC_BYPASS_PLL) & ~RCC_DIVIDE;
  SYSCTL_RCC = rcc;
  rcc = (rcc & ~(RCC_MAIN_OSC_OFF | RCC_SOURCE | RCC_CRYSTAL | RCC_PLL_OFF)) | RCC_CRYSTAL_8_MHZ;
  SYSCTL_RCC = rcc;
  rcc = (rcc & ~RCC_DIVISOR) | RCC_DIVISOR_OF(EL_CLOCK) | RCC_DIVIDE;
  SYSCTL_RCC = rcc;
  for (uint32_t patience = PATIENCE; !(SYSCTL_RIS & RIS_PLL_LOCKED) && patience; patience--) continue;
  SYSCTL_RCC = rcc & ~RCC_BYPASS_PLL;
}

static void open_uart(void) {
  SYSCTL_RCGC1 |= 1u; /* UART 0 */
  SYSCTL_RCGC2 |= 1u; /* port A */
  (void)SYSCTL_RCGC2; /* a few cycles, before the first access */
  PORT_A_AFSEL |= PINS_RX_TX;
  PORT_A_DEN |= PINS_RX_TX;
  UART_IBRD = BAUD_64TH / 64u;
  UART_FBRD = BAUD_64TH % 64u;
  UART_LCRH = LCRH_8_BITS_FIFO; /* after the divisors: this write takes them over */
  UART_IM = INT_RX;
  UART_CTL = CTL_ENABLE_RX_TX;
  irq_enable(EL_UART_IRQ);
}

const el_hal *el_port_open(void) {
  start_clock();
  systick_start();
  open_uart();
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
