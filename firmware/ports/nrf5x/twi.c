/* Registers: nRF51 Series Reference Manual 3.0, chapter TWI; the Product Specifications of nRF52833 and nRF52840 have the same. Linked into
 * images with a meter only. */
#include "twi.h"

#include "cortexm.h"

#define TWI 0x40003000u
#define TWI_STARTRX REG(TWI + 0x000u)
#define TWI_STARTTX REG(TWI + 0x008u)
#define TWI_STOP REG(TWI + 0x014u)
#define TWI_RESUME REG(TWI + 0x020u)
#define TWI_STOPPED REG(TWI + 0x104u)
#define TWI_RXDREADY REG(TWI + 0x108u)
#define TWI_TXDSENT REG(TWI + 0x11Cu)
#define TWI_ERROR REG(TWI + 0x124u)
#define TWI_SHORTS REG(TWI + 0x200u)
#define TWI_ERRORSRC REG(TWI + 0x4C4u)
#define TWI_ENABLE REG(TWI + 0x500u)
#define TWI_PSELSCL REG(TWI + 0x508u)
#define TWI_PSELSDA REG(TWI + 0x50Cu)
#define TWI_RXD REG(TWI + 0x518u)
#define TWI_TXD REG(TWI + 0x51Cu)
#define TWI_FREQUENCY REG(TWI + 0x524u)
#define TWI_ADDRESS REG(TWI + 0x588u)
#define AFTER_A_BYTE_SUSPEND 1u
#define AFTER_A_BYTE_STOP 2u
#define ENABLED 5u
#define KHZ_400 0x06680000u
#define ALL_ERRORS 7u
#define PATIENCE 20000u /* turns of a loop, several ms; a byte takes 23 us */

#define PIN_CNF(pin) REG(0x50000700u + 0x300u * ((pin) / 32) + 4u * ((pin) % 32))
#define OPEN_DRAIN_PULLED_UP 0x60Cu /* input, pull-up, drives 0 and disconnects 1 */

static int fault(void) {
  TWI_STOP = 1;
  TWI_ERRORSRC = ALL_ERRORS; /* written ones clear */
  TWI_SHORTS = 0;
  return -1;
}

static int wait_for(volatile uint32_t *event) {
  for (uint32_t patience = PATIENCE; patience; patience--) {
    if (*event) {
      *event = 0;
      return 0;
    }
    if (TWI_ERROR) break;
  }
  return -1;
}

void twi_open(uint32_t scl, uint32_t sda) {
  PIN_CNF(scl) = OPEN_DRAIN_PULLED_UP;
  PIN_CNF(sda) = OPEN_DRAIN_PULLED_UP;
  TWI_PSELSCL = scl;
  TWI_PSELSDA = sda;
  TWI_FREQUENCY = KHZ_400;
  TWI_ENABLE = ENABLED;
}

/* Addresses the chip and sends n bytes; the bus stays ours. */
static int send(uint8_t address, const uint8_t *bytes, uint8_t n) {
  TWI_ADDRESS = address;
  TWI_SHORTS = 0;
  TWI_ERROR = 0;
  TWI_TXDSENT = 0;
  TWI_STOPPED = 0;
  TWI_STARTTX = 1;
  for (uint8_t i = 0; i < n; i++) {
    TWI_TXD = bytes[i];
    if (wait_for(&TWI_TXDSENT)) return -1;
  }
  return 0;
}

int i2c_twi_write(void *ctx, uint8_t address, const uint8_t *bytes, uint8_t n) {
  (void)ctx;
  if (send(address, bytes, n)) return fault();
  TWI_STOP = 1;
  return wait_for(&TWI_STOPPED) ? fault() : 0;
}

/* The interface stops for us after each byte but the last, so that none is clocked in that nobody takes. */
int i2c_twi_read(void *ctx, uint8_t address, uint8_t reg, uint8_t *out, uint8_t n) {
  (void)ctx;
  if (!n || send(address, &reg, 1)) return fault();
  TWI_RXDREADY = 0;
  TWI_SHORTS = n == 1 ? AFTER_A_BYTE_STOP : AFTER_A_BYTE_SUSPEND;
  TWI_STARTRX = 1;
  for (uint8_t left = n; left; left--) {
    if (wait_for(&TWI_RXDREADY)) return fault();
    *out++ = (uint8_t)TWI_RXD;
    if (left == 2) TWI_SHORTS = AFTER_A_BYTE_STOP;
    if (left > 1) TWI_RESUME = 1;
  }
  int code = wait_for(&TWI_STOPPED);
  TWI_SHORTS = 0;
  return code ? fault() : 0;
}
