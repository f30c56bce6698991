/* Who may write: sessions whose frames carry a tag, and plans that carry a signature. docs/pairing.md says what is proved by what.
 *
 * Part of paired images alone, which are compiled with EL_PAIRING. The cryptography is Monocypher's (`make pairing` fetches it): BLAKE2b with
 * a key for tags and session keys, Ed25519 as in RFC 8032 for plans. */
#ifndef EL_PAIRING_H
#define EL_PAIRING_H

#include "el_hal.h"
#include "el_link.h"

#define EL_PAIR_KEY 32
#define EL_PAIR_NONCE_BYTES 16
#define EL_PAIR_TAG 16
#define EL_PAIR_ID 8
#define EL_PAIR_MANIFEST EL_PLAN_SIGN_SIGNATURE /* bytes of plan_sign that are signed: all before the signature */

/* What an image is built with. The secret is shared with the host; the public key checks plans. */
typedef struct el_pairing_keys {
  uint8_t public_key[EL_PAIR_KEY];
  uint8_t secret[EL_PAIR_KEY];
} el_pairing_keys;

/* One conversation with a host that knows the secret. `counter` is that of the last frame that was taken. */
typedef struct el_pairing_session {
  uint8_t key[EL_PAIR_KEY];
  uint32_t counter;
  uint8_t open;
} el_pairing_session;

/* Two numbers that only grow, in two pages of the board's non-volatile memory: counter.c. */
typedef struct el_counter {
  const el_hal *hal;
  uint32_t pages;    /* where they are */
  uint32_t at;       /* the newest record, from there */
  uint32_t sequence; /* records ever written: another for each start, so that no nonce comes twice */
  uint32_t floor;    /* plans with a lower counter are refused */
  uint8_t kept;      /* 0: no such memory, a restart forgets */
  uint8_t found;     /* is there a record at all? */
} el_counter;

typedef struct el_pairing {
  const el_pairing_keys *keys;
  el_counter counter;
  el_pairing_session now;  /* its frames are taken */
  el_pairing_session next; /* offered; takes the other's place with its first good frame, so that nobody else can end that one */
  uint8_t host_nonce[EL_PAIR_NONCE_BYTES]; /* of `next` */
  uint8_t board_nonce[EL_PAIR_NONCE_BYTES];
  uint8_t entropy[EL_PAIR_NONCE_BYTES]; /* random where the board has a source, else 0 */
  uint8_t random;                       /* has it one? */
  uint8_t started;                      /* is this start of the board counted? */
  uint32_t offered;                     /* sessions since */
  uint8_t manifest[EL_PAIR_MANIFEST];   /* of the plan to come */
  uint8_t is_signed;                    /* is there one, and was its signature right? */
} el_pairing;

/* Fills `own` with `hal` less two pages of its non-volatile memory, which hold the counters. `entropy`: 16 random bytes, or NULL where the
 * board has none to give; then it needs the memory. */
void el_pairing_start(el_pairing *pairing, const el_pairing_keys *keys, const el_hal *hal, el_hal *own, const uint8_t *entropy);

/* counter.c */
void el_counter_open(el_counter *counter, const el_hal *hal, el_hal *own);
int el_counter_raise(el_counter *counter, uint32_t floor); /* one more record; EL_OK once it can be read back */

/* plan_sign.c: checks the signature and the counter of a plan to come; `body` is that of plan_sign. */
int el_pairing_sign(el_pairing *pairing, const uint8_t *body);

#endif
