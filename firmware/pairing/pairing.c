/* Sessions: a key for each from both sides' nonces, and a tag on every frame that asks for more than telemetry. */
#include "el_pairing.h"

#include <string.h>

#include "el_bytes.h"
#include "monocypher.h"

#define HEADER_BYTES 4
#define PURPOSE_BYTES 16

/* What a hash is good for, so that it is good for nothing else. edgelearn/pairing/session.py has the same words. */
static const char SESSION[] = "edgelearn pair 1", NONCE[] = "edgelearn nonce1";
static const uint8_t FROM_HOST = 'H', FROM_BOARD = 'B';

/* --- keys and tags ------------------------------------------------------------------------------------------------ */

/* Nobody can foretell it, and it never comes twice: each start of the board and each session have a number. */
static void make_nonce(el_pairing *p) {
  crypto_blake2b_ctx hash;
  uint8_t numbers[8];
  el_put32(numbers, p->counter.sequence);
  el_put32(numbers + 4, ++p->offered);
  crypto_blake2b_general_init(&hash, EL_PAIR_NONCE_BYTES, p->keys->secret, EL_PAIR_KEY);
  crypto_blake2b_update(&hash, (const uint8_t *)NONCE, PURPOSE_BYTES);
  crypto_blake2b_update(&hash, numbers, sizeof numbers);
  crypto_blake2b_update(&hash, p->entropy, sizeof p->entropy);
  crypto_blake2b_final(&hash, p->board_nonce);
}

static void make_key(el_pairing *p, const el_hal *hal) {
  crypto_blake2b_ctx hash;
  crypto_blake2b_general_init(&hash, EL_PAIR_KEY, p->keys->secret, EL_PAIR_KEY);
  crypto_blake2b_update(&hash, (const uint8_t *)SESSION, PURPOSE_BYTES);
  crypto_blake2b_update(&hash, p->host_nonce, EL_PAIR_NONCE_BYTES);
  crypto_blake2b_update(&hash, p->board_nonce, EL_PAIR_NONCE_BYTES);
  crypto_blake2b_update(&hash, (const uint8_t *)hal->board, sizeof hal->board);
  crypto_blake2b_update(&hash, hal->chip, sizeof hal->chip);
  crypto_blake2b_final(&hash, p->next.key);
}

/* Over a counter and the frame behind it. */
static void make_tag(const el_pairing_session *session, uint8_t from, const uint8_t *counter, const uint8_t *frame, uint32_t n, uint8_t *out) {
  crypto_blake2b_ctx hash;
  crypto_blake2b_general_init(&hash, EL_PAIR_TAG, session->key, EL_PAIR_KEY);
  crypto_blake2b_update(&hash, &from, 1);
  crypto_blake2b_update(&hash, counter, 4);
  crypto_blake2b_update(&hash, frame, n);
  crypto_blake2b_final(&hash, out);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void answer(el_link *link, uint8_t code, uint16_t n) {
  link->tx[0] = code;
  link->tx[1] = link->rx[1];
  el_put16(link->tx + 2, n);
  el_frame_send(link, (uint16_t)(n + HEADER_BYTES));
}

/* Asked again with the same nonce, the answer is the same: it may have been lost. */
static int offer(el_link *link, const uint8_t *nonce) {
  el_pairing *p = link->pairing;
  uint8_t *body = link->tx + HEADER_BYTES;
  const uint8_t none[4] = {0, 0, 0, 0};
  if (!p->next.open || memcmp(nonce, p->host_nonce, EL_PAIR_NONCE_BYTES) != 0) {
    int err = p->counter.kept || p->random ? EL_OK : EL_ERR_NO_NV; /* after a restart its nonces would come again */
    if (!err && !p->started) err = el_counter_raise(&p->counter, p->counter.floor);
    if (err) return err;
    p->started = 1;
    memcpy(p->host_nonce, nonce, EL_PAIR_NONCE_BYTES);
    make_nonce(p);
    make_key(p, link->hal);
    p->next.counter = 0;
    p->next.open = 1;
  }
  memcpy(body + EL_PAIR_R_NONCE, p->board_nonce, EL_PAIR_NONCE_BYTES);
  make_tag(&p->next, FROM_BOARD, none, NULL, 0, body + EL_PAIR_R_TAG);
  answer(link, EL_MSG_PAIR_R, EL_PAIR_R_FIXED);
  return 0;
}

static void signed_plan(el_link *link, uint16_t n) {
  int err = n == EL_PLAN_SIGN_FIXED ? el_pairing_sign(link->pairing, link->rx + HEADER_BYTES) : EL_ERR_SIZE;
  uint8_t *body = link->tx + HEADER_BYTES;
  el_put16(body + EL_STATUS_CODE, (uint16_t)err);
  el_put32(body + EL_STATUS_DETAIL, link->pairing->counter.floor);
  answer(link, EL_MSG_STATUS, EL_STATUS_FIXED);
}

/* --- what is let through ------------------------------------------------------------------------------------------ */

/* Did somebody with this session's key make the tag? */
static int is_from(const el_pairing_session *session, const uint8_t *body, uint16_t n) {
  uint8_t tag[EL_PAIR_TAG];
  if (!session->open) return 0;
  make_tag(session, FROM_HOST, body + EL_SEALED_COUNTER, body + EL_SEALED_FIXED, n - EL_SEALED_FIXED, tag);
  return crypto_verify16(tag, body + EL_SEALED_TAG) == 0;
}

/* The session that a frame belongs to; the one that was offered becomes the one that counts. NULL: none. */
static el_pairing_session *session_of(el_pairing *p, const uint8_t *body, uint16_t n) {
  if (is_from(&p->now, body, n)) return &p->now;
  if (!is_from(&p->next, body, n)) return NULL;
  p->now = p->next;
  crypto_wipe(&p->next, sizeof p->next);
  return &p->now;
}

/* Puts the frame within a sealed one in its place; returns its bytes, 0 if it is to be passed over, an EL_ERR_* if refused. */
static int unseal(el_link *link, uint16_t n) {
  const uint8_t *body = link->rx + HEADER_BYTES, *frame = body + EL_SEALED_FIXED;
  el_pairing_session *session;
  if (n < EL_SEALED_FIXED + HEADER_BYTES) return EL_ERR_SIZE;
  session = session_of(link->pairing, body, n);
  if (session == NULL) return EL_ERR_LOCKED;
  uint32_t counter = el_get32(body + EL_SEALED_COUNTER);
  if (counter <= session->counter) return 0; /* replayed, or the line has sent it twice: the first was answered */
  session->counter = counter;
  n = (uint16_t)(n - EL_SEALED_FIXED);
  if (el_get16(frame + 2) != n - HEADER_BYTES) return EL_ERR_SIZE;
  memmove(link->rx, frame, n);
  if (link->rx[0] != EL_MSG_PLAN_SIGN) return n;
  signed_plan(link, (uint16_t)(n - HEADER_BYTES));
  return 0;
}

int el_pairing_admit(el_link *link, uint16_t frame_bytes) {
  uint16_t n = (uint16_t)(frame_bytes - HEADER_BYTES);
  if (link->pairing == NULL) return EL_ERR_LOCKED;
  switch (link->rx[0]) {
    case EL_MSG_HELLO:
    case EL_MSG_RESULTS:
    case EL_MSG_STATUS:
      return frame_bytes;
    case EL_MSG_STATS: /* with more than the question it moves a pin, or begins another peak */
      return n == EL_STATS_FIXED ? frame_bytes : EL_ERR_LOCKED;
    case EL_MSG_PAIR:
      return n < EL_PAIR_FIXED ? EL_ERR_SIZE : offer(link, link->rx + HEADER_BYTES);
    case EL_MSG_SEALED:
      return unseal(link, n);
    default:
      return EL_ERR_LOCKED;
  }
}

uint16_t el_pairing_hello(const el_link *link, uint8_t *out) {
  const el_pairing *p = link->pairing;
  if (p == NULL) return 0;
  out[0] = EL_TLV_PAIRING;
  out[1] = EL_PAIR_ID + 5;
  crypto_blake2b_general(out + 2, EL_PAIR_ID, NULL, 0, p->keys->public_key, EL_PAIR_KEY);
  el_put32(out + 2 + EL_PAIR_ID, p->counter.floor);
  out[6 + EL_PAIR_ID] = p->counter.kept;
  return 2 + EL_PAIR_ID + 5;
}

void el_pairing_start(el_pairing *p, const el_pairing_keys *keys, const el_hal *hal, el_hal *own, const uint8_t *entropy) {
  memset(p, 0, sizeof *p);
  p->keys = keys;
  p->random = entropy != NULL;
  if (entropy) memcpy(p->entropy, entropy, sizeof p->entropy);
  el_counter_open(&p->counter, hal, own);
}
