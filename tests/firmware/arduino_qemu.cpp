// What QEMU 7.2's Uno needs beside a sketch, and a real one does not. It has no timer 0, the clock of Arduino's core, so micros() stands
// still; and an interrupt that had to wait while interrupts were off is taken only when another one comes. Timer 1 brings one.
#include <Arduino.h>

ISR(TIMER1_OVF_vect) {}

void initVariant() {
  TCCR1A = 0;
  TCCR1B = _BV(CS10);
  TIMSK1 = _BV(TOIE1);
}
