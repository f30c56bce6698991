/* STM32 of the series F1 and F4; the board file says which serial port it is and at which pins. Registers: reference manuals
 * RM0041 (F100), RM0008 (F103), RM0383 (F411), RM0390 (F446), RM0090 (F405). */
#include "port.h"

#include "chip.h"
#include "edgelearn.h"
#include "received.h"
#include "systick.h"

#define USART_SR REG(EL_UART)
#define USART_DR REG(EL_UART + 0x4u)
#define USART_BRR REG(EL_UART + 0x8u)
#define USART_CR1 REG(EL_UART + 0xCu)
#define SR_OVERRUN (1u << 3)
#define SR_RX_FULL (1u << 5)
#define SR_TX_EMPTY (1u << 7)
#define CR1_RX (1u << 2)
#define CR1_TX (1u << 3)
#define CR1_RX_INT (1u << 5)
#define CR1_ENABLE (1u << 13)

void Uart_IRQHandler(void) {
  uint32_t status;
  while ((status = USART_SR) & (SR_RX_FULL | SR_OVERRUN)) {
    uint8_t byte = (uint8_t)USART_DR; /* status read, then data: that clears both flags */
    if (status & SR_RX_FULL) ring_put(&ring, byte);
    if (status & SR_OVERRUN) ring.overruns++; /* the hardware lost at least one */
  }
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    while (!(USART_SR & SR_TX_EMPTY)) continue;
    USART_DR = *bytes++;
  }
}

#if EL_NV_BYTES
extern uint8_t __nv_start[]; /* from the linker script */

static int hal_nv_read(void *ctx, uint32_t off, uint8_t *out, uint32_t n) {
  (void)ctx;
  for (uint32_t i = 0; i < n; i++) out[i] = __nv_start[off + i];
  return EL_OK;
}
#endif

static el_hal hal = {
    .board = EL_BOARD_ID,
    .rx_buffer = EL_RING_BYTES,
    .rx = hal_rx,
    .tx = hal_tx,
    .overruns = hal_overruns,
    .now_us = hal_systick_us,
    .stack_used = hal_stack_used,
#if EL_NV_BYTES
    .nv_bytes = EL_NV_BYTES,
    .nv_page = EL_NV_PAGE,
    .nv_read = hal_nv_read,
    .nv_erase = hal_nv_erase,
    .nv_prog = hal_nv_prog,
#endif
};

/* 96 bits of the maker's, folded into our 64. Emulators do not have them. */
static void read_chip_id(uint8_t *out) {
#ifdef EL_UID
  const uint32_t words[2] = {REG(EL_UID), REG(EL_UID + 4u) ^ REG(EL_UID + 8u)};
  for (unsigned i = 0; i < 8; i++) out[i] = (uint8_t)(words[i / 4] >> 8 * (i % 4));
#else
  (void)out;
#endif
}

const el_hal *el_port_open(void) {
  chip_clock();
  systick_start();
  read_chip_id(hal.chip);
  chip_pins();
  USART_BRR = (chip_uart_clock() + EL_BAUD / 2u) / EL_BAUD;
  USART_CR1 = CR1_ENABLE | CR1_TX | CR1_RX | CR1_RX_INT;
  irq_enable(EL_UART_IRQ);
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
