/* Raspberry Pi RP2040, wired as on the Pico: a crystal of 12 MHz, the first serial port on pins 0 and 1. Registers: RP2040
 * Datasheet, sections 2.14 (resets), 2.15 to 2.18 (clocks), 2.19 (pins), 4.2 (UART), 4.6 (timer) and 4.7 (watchdog). */
#include "port.h"

#include "cortexm.h"
#include "nv.h"
#include "received.h"

#define CLEAR(reg) (*(&(reg) + 0x3000u / 4)) /* every register again, where ones that are written clear bits */

#define RESETS_RESET REG(0x4000C000u)
#define RESETS_DONE REG(0x4000C008u)
#define RESET_IO_BANK0 (1u << 5)
#define RESET_PADS_BANK0 (1u << 8)
#define RESET_PLL_SYS (1u << 12)
#define RESET_TIMER (1u << 21)
#define RESET_UART0 (1u << 22)

#define XOSC_CTRL REG(0x40024000u)
#define XOSC_STATUS REG(0x40024004u)
#define XOSC_STARTUP REG(0x4002400Cu)
#define XOSC_1_TO_15_MHZ 0xAA0u
#define XOSC_ENABLE (0xFABu << 12)
#define XOSC_STABLE (1u << 31)
#define XOSC_1_MS (EL_CRYSTAL / 1000u / 256u + 1u) /* in turns of 256 periods */

#define CLK_REF_CTRL REG(0x40008030u)
#define CLK_REF_SELECTED REG(0x40008038u)
#define CLK_SYS_CTRL REG(0x4000803Cu)
#define CLK_SYS_SELECTED REG(0x40008044u)
#define CLK_PERI_CTRL REG(0x40008048u)
#define REF_FROM_CRYSTAL 2u
#define SYS_FROM_REF 0u
#define SYS_FROM_PLL 1u
#define PERI_FROM_CRYSTAL (4u << 5 | 1u << 11)

#define PLL_CS REG(0x40028000u)
#define PLL_PWR REG(0x40028004u)
#define PLL_FBDIV REG(0x40028008u)
#define PLL_PRIM REG(0x4002800Cu)
#define PLL_LOCKED (1u << 31)
#define PLL_POWER_DOWN (1u << 0 | 1u << 5) /* itself and its oscillator */
#define PLL_POSTDIV_POWER_DOWN (1u << 3)
#define PLL_POSTDIV1 6u
#define PLL_POSTDIV2 2u
#define PLL_TIMES (EL_CLOCK / 1000u * PLL_POSTDIV1 * PLL_POSTDIV2 / (EL_CRYSTAL / 1000u))
_Static_assert(EL_CRYSTAL / 1000u * PLL_TIMES == EL_CLOCK / 1000u * PLL_POSTDIV1 * PLL_POSTDIV2, "the PLL cannot make this clock");
_Static_assert(EL_CRYSTAL / 1000u * PLL_TIMES >= 750000u && EL_CRYSTAL / 1000u * PLL_TIMES <= 1600000u, "the PLL's oscillator");

#define WATCHDOG_TICK REG(0x4005802Cu)
#define TICK_ENABLE (1u << 9)
#define TIMER_LOW REG(0x40054028u)

#define GPIO_CTRL(pin) REG(0x40014004u + 8u * (pin))
#define FUNCTION_UART 2u
#define PAD(pin) REG(0x4001C004u + 4u * (pin))
#define PAD_INPUT_PULLED_UP 0x5Au
#define PIN_TX 0u
#define PIN_RX 1u

#define UART_DR REG(EL_UART + 0x00u)
#define UART_FR REG(EL_UART + 0x18u)
#define UART_IBRD REG(EL_UART + 0x24u)
#define UART_FBRD REG(EL_UART + 0x28u)
#define UART_LCR_H REG(EL_UART + 0x2Cu)
#define UART_CR REG(EL_UART + 0x30u)
#define UART_IMSC REG(EL_UART + 0x38u)
#define DR_OVERRUN (1u << 11)
#define FR_RX_EMPTY (1u << 4)
#define FR_TX_FULL (1u << 5)
#define LCR_8_BITS_FIFO 0x70u
#define CR_TX_RX_ENABLE 0x301u
#define INT_RX (1u << 4)         /* the FIFO is half full */
#define INT_RX_TIMEOUT (1u << 6) /* or has held something for 32 bits' time */

void Uart_IRQHandler(void) {
  while (!(UART_FR & FR_RX_EMPTY)) {
    uint32_t got = UART_DR;
    if (got & DR_OVERRUN) ring.overruns++; /* the hardware lost at least one */
    ring_put(&ring, (uint8_t)got);
  }
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    while (UART_FR & FR_TX_FULL) continue;
    UART_DR = *bytes++;
  }
}

static uint32_t hal_now_us(void *ctx) {
  (void)ctx;
  return TIMER_LOW;
}

static const el_hal hal = {
    .board = EL_BOARD_ID, /* no chip: the RP2040 has no serial number */
    .rx_buffer = EL_RING_BYTES,
    .rx = hal_rx,
    .tx = hal_tx,
    .overruns = hal_overruns,
    .now_us = hal_now_us,
    .stack_used = hal_stack_used,
    .nv_bytes = EL_NV_BYTES,
    .nv_page = EL_NV_PAGE,
    .nv_read = hal_nv_read,
    .nv_erase = hal_nv_erase,
    .nv_prog = hal_nv_prog,
};

static void release(uint32_t blocks) {
  RESETS_RESET |= blocks;
  CLEAR(RESETS_RESET) = blocks;
  while (~RESETS_DONE & blocks) continue;
}

static void start_crystal(void) {
  XOSC_CTRL = XOSC_1_TO_15_MHZ;
  XOSC_STARTUP = XOSC_1_MS;
  XOSC_CTRL = XOSC_1_TO_15_MHZ | XOSC_ENABLE;
  while (!(XOSC_STATUS & XOSC_STABLE)) continue;
  CLK_REF_CTRL = REF_FROM_CRYSTAL;
  while (!(CLK_REF_SELECTED & 1u << REF_FROM_CRYSTAL)) continue;
}

static void start_pll(void) {
  CLK_SYS_CTRL = SYS_FROM_REF; /* after a fault the core still runs from the PLL */
  while (!(CLK_SYS_SELECTED & 1u << SYS_FROM_REF)) continue;
  release(RESET_PLL_SYS);
  PLL_CS = 1; /* the crystal as it is */
  PLL_FBDIV = PLL_TIMES;
  CLEAR(PLL_PWR) = PLL_POWER_DOWN;
  while (!(PLL_CS & PLL_LOCKED)) continue;
  PLL_PRIM = PLL_POSTDIV1 << 16 | PLL_POSTDIV2 << 12;
  CLEAR(PLL_PWR) = PLL_POSTDIV_POWER_DOWN;
  CLK_SYS_CTRL = SYS_FROM_PLL;
  while (!(CLK_SYS_SELECTED & 1u << SYS_FROM_PLL)) continue;
}

static void open_uart(void) {
  const uint32_t divider = (EL_CRYSTAL * 4u + EL_BAUD / 2) / EL_BAUD; /* in 64ths of 16 samples a bit */
  CLK_PERI_CTRL = PERI_FROM_CRYSTAL;
  release(RESET_UART0);
  UART_IBRD = divider / 64;
  UART_FBRD = divider % 64;
  UART_LCR_H = LCR_8_BITS_FIFO; /* after the divider: writing this takes it over */
  UART_IMSC = INT_RX | INT_RX_TIMEOUT;
  UART_CR = CR_TX_RX_ENABLE;
  GPIO_CTRL(PIN_TX) = FUNCTION_UART;
  PAD(PIN_RX) = PAD_INPUT_PULLED_UP; /* a receiver that nobody has wired hears silence */
  GPIO_CTRL(PIN_RX) = FUNCTION_UART;
  irq_enable(EL_UART_IRQ);
}

const el_hal *el_port_open(void) {
  start_crystal();
  start_pll();
  WATCHDOG_TICK = EL_CRYSTAL / 1000000u | TICK_ENABLE; /* the timer counts microseconds of the reference clock */
  release(RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_TIMER);
  open_uart();
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
