/* The board's end of the link: frames in, replies out. See edgelearn/link/messages.py for the messages. */
#ifndef EL_LINK_H
#define EL_LINK_H

#include "../gen/el_proto.h"
#include "edgelearn.h"
#include "el_hal.h"

#ifndef EL_MAX_FRAME
#define EL_MAX_FRAME 371 /* bytes before the CRC; a port with little RAM says less, down to 64 */
#endif

typedef struct el_link {
  el_t *el;
  const el_hal *hal;
  uint8_t *pool; /* plan (if it came over the link), state and arena live here */
  uint32_t pool_bytes;
  uint32_t boot_id;
  uint32_t plan_size; /* being received, or received */
  uint32_t plan_hash;
#ifndef EL_PLAN_IN_ROM
  uint32_t plan_got;
#endif
  uint32_t infer_id;
  uint32_t bad_frames;
  uint16_t part; /* bytes of the sample that are in the input buffer */
  uint8_t part_kind; /* message code that the part belongs to, 0 for none */
  uint8_t phase;
  uint8_t fixed_plan; /* is one compiled in? */
  uint8_t rx_code; /* COBS decoder */
  uint8_t rx_left;
  uint8_t rx_bad;
  uint16_t rx_len;
  uint16_t guesses[EL_RESULTS]; /* ring of the last predictions, by step % EL_RESULTS */
  uint32_t first_guess;         /* step of the oldest one that is known */
#ifdef EL_PAIRING
  struct el_pairing *pairing; /* firmware/pairing; set after el_link_init. NULL: nobody is let in */
#endif
#ifdef EL_SMALL /* one buffer: every handler has read its request before it writes the answer */
  union {
    uint8_t rx[EL_MAX_FRAME + 4];
    uint8_t tx[EL_MAX_FRAME + 4];
  };
#else
  uint8_t rx[EL_MAX_FRAME + 4];
  uint8_t tx[EL_MAX_FRAME + 4];
#endif
} el_link;

/* `plan` NULL: plans come over the link and live in the pool. */
void el_link_init(el_link *link, el_t *el, const el_hal *hal, void *pool, uint32_t pool_bytes, EL_PLAN void *plan,
                  uint32_t plan_bytes);

/* Handles what has arrived; returns the number of bytes it took. Call it in a loop. */
uint32_t el_link_poll(el_link *link);

/* frame.c: feeds one received byte to the decoder. Returns the length of a frame whose CRC is right (now in link->rx), else 0. */
uint16_t el_frame_feed(el_link *link, uint8_t byte);
/* frame.c: adds the CRC to link->tx[0..n) and sends it COBS-encoded. */
void el_frame_send(el_link *link, uint16_t n);
uint32_t el_crc32(uint32_t crc, const uint8_t *bytes, uint32_t n); /* start with 0, as zlib does */

/* What paired images ask before they do as they are told (firmware/pairing). Others let everybody write, and have no code for it. */
#ifdef EL_PAIRING
/* Is the frame in link->rx one that may be obeyed? Returns its length (a sealed one is opened in place), 0 if there is nothing to be
 * done, or an EL_ERR_*. */
int el_pairing_admit(el_link *link, uint16_t frame_bytes);
/* Writes the TLV of hello_r that says which key counts; returns its length. */
uint16_t el_pairing_hello(const el_link *link, uint8_t *out);
/* Has a plan of this size been signed? Are these bytes that plan? Then it runs, and no older one is taken any more; it does not, if that
 * cannot be kept. */
int el_pairing_expects(const el_link *link, uint32_t size);
int el_pairing_check(const el_link *link, const uint8_t *plan, uint32_t size);
int el_pairing_accept(el_link *link);
#else
#define el_pairing_hello(link, out) 0
#define el_pairing_expects(link, size) EL_OK
#define el_pairing_check(link, plan, size) EL_OK
#define el_pairing_accept(link) EL_OK
#endif

#endif
