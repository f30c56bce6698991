/* Plans: what is signed is the manifest, which holds the hash of the plan; the plan's bytes are hashed where they will be used from. */
#include <string.h>

#include "el_bytes.h"
#include "el_pairing.h"
#include "monocypher-ed25519.h"
#include "monocypher.h"

#define PURPOSE_BYTES 16
#define DIGEST_BYTES (EL_PLAN_SIGN_SIGNATURE - EL_PLAN_SIGN_DIGEST)

static const char PURPOSE[] = "edgelearn plan 1";

int el_pairing_sign(el_pairing *p, const uint8_t *body) {
  uint8_t message[PURPOSE_BYTES + EL_PAIR_MANIFEST];
  p->is_signed = 0;
  memcpy(message, PURPOSE, PURPOSE_BYTES);
  memcpy(message + PURPOSE_BYTES, body, EL_PAIR_MANIFEST);
  if (crypto_ed25519_check(body + EL_PLAN_SIGN_SIGNATURE, p->keys->public_key, message, sizeof message)) return EL_ERR_SIGNATURE;
  if (el_get32(body + EL_PLAN_SIGN_COUNTER) < p->counter.floor) return EL_ERR_ROLLBACK;
  memcpy(p->manifest, body, EL_PAIR_MANIFEST);
  p->is_signed = 1;
  return EL_OK;
}

/* The floor may have risen since the manifest came. */
int el_pairing_expects(const el_link *link, uint32_t size) {
  const el_pairing *p = link->pairing;
  if (p == NULL || !p->is_signed || el_get32(p->manifest + EL_PLAN_SIGN_SIZE) != size) return EL_ERR_SIGNATURE;
  return el_get32(p->manifest + EL_PLAN_SIGN_COUNTER) < p->counter.floor ? EL_ERR_ROLLBACK : EL_OK;
}

/* The plan lies in RAM, where plan_data no longer reaches it once it runs: these bytes are the ones that are verified and used. */
int el_pairing_check(const el_link *link, const uint8_t *plan, uint32_t size) {
  uint8_t digest[DIGEST_BYTES];
  int err = el_pairing_expects(link, size);
  if (err) return err;
  crypto_blake2b_general(digest, sizeof digest, NULL, 0, plan, size);
  return memcmp(digest, link->pairing->manifest + EL_PLAN_SIGN_DIGEST, sizeof digest) ? EL_ERR_SIGNATURE : EL_OK;
}

int el_pairing_accept(el_link *link) {
  el_pairing *p = link->pairing;
  uint32_t counter = el_get32(p->manifest + EL_PLAN_SIGN_COUNTER);
  int err = counter > p->counter.floor ? el_counter_raise(&p->counter, counter) : EL_OK;
  if (err) link->phase = EL_PHASE_EMPTY;
  return err;
}
