/* gestures: made by edgelearn from rule mono-forward, int8; state 886 bytes, arena 124 bytes;
 * plan 0x390831f3. */
#include "el_kernel.h"

const uint32_t el_app_plan_bytes = 476;
_Alignas(4) EL_ROM uint8_t el_app_plan[] = {
    69, 76, 80, 49, 1, 1, 52, 0, 220, 1, 0, 0, 0, 0, 0, 0, 1, 0, 6, 12,
    3, 1, 3, 0, 3, 0, 10, 0, 118, 3, 0, 0, 124, 0, 0, 0, 80, 3, 0, 0,
    3, 4, 7, 4, 0, 1, 232, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 248, 7, 0, 0, 0, 0, 0, 1, 243, 15, 1, 0, 0, 0, 0, 1, 249, 7, 2,
    0, 0, 0, 0, 2, 250, 7, 0, 16, 0, 0, 0, 2, 241, 15, 0, 16, 0, 0, 0,
    0, 0, 0, 0, 16, 0, 48, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0,
    1, 0, 16, 0, 1, 1, 0, 2, 0, 0, 0, 0, 32, 3, 0, 0, 3, 0, 16, 0,
    1, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 48, 0, 0, 0, 250, 0,
    0, 0, 0, 0, 48, 0, 0, 0, 1, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0,
    52, 0, 0, 0, 1, 0, 16, 0, 0, 0, 0, 4, 0, 0, 0, 0, 68, 0, 0, 0,
    1, 0, 3, 0, 0, 2, 0, 3, 4, 0, 0, 0, 80, 0, 0, 0, 1, 0, 1, 0,
    0, 2, 0, 0, 0, 0, 0, 0, 84, 0, 0, 0, 1, 0, 3, 0, 0, 1, 241, 0,
    0, 0, 0, 0, 92, 0, 0, 0, 1, 0, 16, 0, 0, 1, 0, 5, 0, 0, 0, 0,
    48, 0, 0, 0, 1, 0, 16, 0, 0, 0, 0, 4, 0, 0, 0, 0, 64, 0, 0, 0,
    1, 0, 3, 0, 0, 2, 0, 3, 4, 0, 0, 0, 0, 1, 22, 0, 0, 16, 0, 0,
    1, 0, 0, 1, 0, 0, 0, 0, 2, 1, 23, 2, 182, 27, 0, 0, 1, 65, 0, 0,
    0, 3, 1, 10, 0, 0, 0, 0, 2, 48, 0, 0, 2, 10, 11, 0, 0, 0, 0, 0,
    19, 32, 0, 0, 11, 4, 0, 0, 0, 0, 0, 0, 1, 65, 0, 0, 0, 3, 1, 5,
    0, 0, 0, 0, 2, 48, 0, 0, 2, 5, 6, 0, 0, 0, 0, 0, 19, 32, 0, 0,
    6, 7, 0, 0, 0, 0, 0, 0, 14, 32, 0, 0, 6, 8, 0, 0, 0, 0, 0, 0,
    16, 48, 0, 0, 8, 4, 8, 0, 0, 0, 0, 0, 17, 32, 0, 4, 8, 8, 0, 0,
    102, 6, 0, 0, 4, 64, 0, 0, 2, 8, 5, 9, 0, 0, 0, 0, 20, 48, 252, 0,
    2, 8, 5, 0, 0, 0, 0, 0, 20, 48, 252, 1, 0, 9, 3, 0, 0, 0, 0, 0,
    21, 32, 252, 2, 1, 9, 0, 0, 0, 0, 0, 0, 243, 49, 8, 57,
};

EL_ROM el_kernel el_kernel_table[] = {
    [1] = el_k_affine,
    [2] = el_k_matvec,
    [4] = el_k_matvec_t_mask,
    [14] = el_k_softmax,
    [16] = el_k_sub_one_hot,
    [17] = el_k_gate,
    [19] = el_k_argmax,
    [20] = el_k_outer_update,
    [21] = el_k_vec_update,
};

EL_ROM el_signature el_signatures[] = {
    {1, 4, {1 | EL_MATRIX | EL_STATE_IN, 1 | EL_COLS | EL_ARENA_IN, 2 | EL_ROWS | EL_STATE_IN, 7 | EL_ROWS | EL_ARENA_OUT}},
    {2, 3, {1 | EL_MATRIX | EL_STATE_IN, 1 | EL_COLS | EL_ARENA_IN, 7 | EL_ROWS | EL_ARENA_OUT}},
    {4, 4, {1 | EL_MATRIX | EL_STATE_IN, 2 | EL_ROWS | EL_ARENA_IN, 1 | EL_COLS | EL_ARENA_IN, 7 | EL_COLS | EL_ARENA_OUT}},
    {14, 2, {7 | EL_COLS | EL_ARENA_IN, 2 | EL_COLS | EL_ARENA_OUT}},
    {16, 3, {2 | EL_COLS | EL_ARENA_IN, 4 | EL_ONE | EL_ARENA_IN, 2 | EL_COLS | EL_ARENA_OUT}},
    {17, 2, {7 | EL_COLS | EL_ARENA_IN, 7 | EL_COLS | EL_ARENA_OUT}},
    {19, 2, {7 | EL_COLS | EL_ARENA_IN, 4 | EL_ONE | EL_ARENA_OUT}},
    {20, 3, {1 | EL_MATRIX | EL_STATE_OUT, 2 | EL_ROWS | EL_ARENA_IN, 1 | EL_COLS | EL_ARENA_IN}},
    {21, 2, {3 | EL_COLS | EL_STATE_OUT, 3 | EL_COLS | EL_ANY_IN}},
};

const uint16_t el_signature_count = 9;
const el_shape_check el_map_shapes = 0;
