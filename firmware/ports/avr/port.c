/* ATmega328P and ATmega2560, as on the Arduino Uno and Mega: the first serial port, and timer 1 for the time. Registers: Atmel's datasheets
 * of the two chips (7810D, 2549Q), chapters USART and Timer/Counter1. */
#include <avr/interrupt.h>
#include <avr/io.h>

#include "port.h"
#include "ring.h"

#if defined(USART_RX_vect) /* a chip with one serial port has no number in its names */
#define USART0_RX_vect USART_RX_vect
#endif

#define DIVISOR ((EL_CLOCK / 4 / EL_BAUD - 1) / 2) /* of 8 clocks, rounded: within 2.1 % of 115,200 baud at 16 MHz */
#define TICKS_PER_US (EL_CLOCK / 1000000ul) /* of timer 1, which counts clocks */
#define PAINT 0xA5

extern uint8_t __stack_limit[], __stack_top[]; /* from avr.ld */

static el_ring ring;
/* Of timer 1, every 4 ms at 16 MHz. (QEMU 7.2 takes an interrupt that came while they were off when the next one comes: none may be rare.) */
static volatile uint32_t overflows;

/* After the stack pointer is set and before data is copied: nothing stands on the stack yet. */
__attribute__((naked, used, section(".init3"))) void el_paint_stack(void);
void el_paint_stack(void) {
  for (uint8_t *p = __stack_limit; p < __stack_top; p++) *p = PAINT;
}

ISR(USART0_RX_vect) { ring_put(&ring, UDR0); }

ISR(TIMER1_OVF_vect) { overflows++; }

static size_t hal_rx(void *ctx, uint8_t *out, size_t n) {
  (void)ctx;
  cli(); /* where the ring counts in two bytes; for less than a byte takes to arrive */
  size_t got = ring_take(&ring, out, n);
  sei();
  return got;
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    while (!(UCSR0A & _BV(UDRE0))) continue;
    UDR0 = *bytes++;
  }
}

static uint32_t hal_overruns(void *ctx) {
  (void)ctx;
  cli(); /* four reads: none may come from another number */
  uint32_t lost = ring.overruns;
  sei();
  return lost;
}

static uint32_t hal_now_us(void *ctx) {
  (void)ctx;
  cli();
  uint16_t low = TCNT1;
  uint32_t high = overflows;
  if (TIFR1 & _BV(TOV1) && low < 0x8000) high++; /* it has just begun anew, and could not say so yet */
  sei();
  return high * (65536ul / TICKS_PER_US) + low / TICKS_PER_US;
}

static uint32_t hal_stack_used(void *ctx, uint32_t *out_size) {
  const uint8_t *p = __stack_limit;
  (void)ctx;
  while (p < __stack_top && *p == PAINT) p++;
  *out_size = (uint16_t)(__stack_top - __stack_limit);
  return (uint16_t)(__stack_top - p);
}

/* No checkpoints of its own: the EEPROM of the Uno, 1 KB, does not hold two copies of a state. */
static el_hal hal = {
    .board = EL_BOARD_ID,
    .rx_buffer = EL_RING_BYTES,
    .rx = hal_rx,
    .tx = hal_tx,
    .overruns = hal_overruns,
    .now_us = hal_now_us,
    .stack_used = hal_stack_used,
};

const el_hal *el_port_open(void) {
  TCCR1B = _BV(CS10);
  TIMSK1 = _BV(TOIE1);
  UBRR0 = DIVISOR;
  UCSR0A = _BV(U2X0);
  UCSR0B = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0); /* 8 bits, no parity, as at reset */
  sei();
  return &hal;
}

/* Looks again at once: QEMU 7.2 never comes back from the SLEEP instruction. */
void el_port_idle(void) {}
