/* Arm MPS2 with the Cortex-M System Design Kit. Registers: CMSDK Technical Reference Manual r1p1, chapter 4, and for the
 * microsecond counter the FPGA system block of application note 386. */
#define EL_RING_BYTES 2048

#include "port.h"

#include "cortexm.h"
#include "ring.h"

#define UART_DATA REG(0x40004000u)
#define UART_STATE REG(0x40004004u)
#define UART_CTRL REG(0x40004008u)
#define UART_INTCLEAR REG(0x4000400Cu)
#define UART_BAUDDIV REG(0x40004010u)
#define UART_RX_IRQ 0u
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define STATE_RX_OVERRUN 8u
#define CTRL_TX 1u
#define CTRL_RX 2u
#define CTRL_RX_INT 8u
#define INT_RX 2u

#define FPGA_COUNTER REG(0x40028018u) /* up by one each time the prescaler runs out */
#define FPGA_PRESCALE REG(0x4002801Cu)
#define CLOCK_MHZ 25u
#define BAUD 115200u

static el_ring ring;

void UART0_RX_IRQHandler(void) {
  UART_INTCLEAR = INT_RX; /* before the byte is read: the next one asks again */
  while (UART_STATE & STATE_RX_FULL) ring_put(&ring, (uint8_t)UART_DATA);
  if (UART_STATE & STATE_RX_OVERRUN) {
    UART_STATE = STATE_RX_OVERRUN; /* the hardware lost at least one */
    ring.overruns++;
  }
}

static size_t hal_rx(void *ctx, uint8_t *out, size_t n) {
  (void)ctx;
  return ring_take(&ring, out, n);
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    while (UART_STATE & STATE_TX_FULL) continue;
    UART_DATA = *bytes++;
  }
}

static uint32_t hal_overruns(void *ctx) {
  (void)ctx;
  return ring.overruns;
}

static uint32_t hal_now_us(void *ctx) {
  (void)ctx;
  return FPGA_COUNTER;
}

static const el_hal hal = {
    .board = EL_BOARD_ID,
    .rx_buffer = EL_RING_BYTES,
    .rx = hal_rx,
    .tx = hal_tx,
    .overruns = hal_overruns,
    .now_us = hal_now_us,
    .stack_used = hal_stack_used,
};

const el_hal *el_port_open(void) {
  FPGA_PRESCALE = CLOCK_MHZ - 1u;
  UART_BAUDDIV = CLOCK_MHZ * 1000000u / BAUD; /* before anything is enabled */
  UART_CTRL = CTRL_TX | CTRL_RX | CTRL_RX_INT;
  irq_enable(UART_RX_IRQ);
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
