/* @STEM@, ready to use: what its plan is called, what one value of a sample is, and one call that opens it.
 *
 *     alignas(8) static uint8_t pool[EL_APP_POOL_BYTES];
 *     static el_t el;
 *     el_app_open(&el, NULL, pool, sizeof pool);
 *     el_learn(&el, sample, label, NULL);  // el_app_value sample[EL_APP_INPUTS]
 *     el_infer(&el, sample, &guess);
 */
#ifndef EL_NET_@MACRO@_H
#define EL_NET_@MACRO@_H

#include "@STEM@_plan.h"

#define EL_APP_SEED @SEED@u /* of the first weights, and of every draw */
@VALUE@

#ifdef __cplusplus
extern "C" {
#endif

/* el_open, from @START@. `hal` may be NULL: only el_save and el_load need it. */
int el_app_open(el_t *el, const struct el_hal *hal, void *pool, size_t pool_bytes);

#ifdef __cplusplus
}
#endif

#endif
