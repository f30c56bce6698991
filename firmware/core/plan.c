/* Is this a plan? Every byte that the runtime will rely on is checked here, once, before anything is used.
 *
 * What passes stays within state and arena, and ends. Whether it means anything is not asked: tensors may overlap, for that is what the
 * arena is for, and numbers may wrap. firmware/tests/verify_main.c tries to disprove it. */
#include "el_kernel.h"
#include "el_link.h"

#define EL_BOARD_BYTES 16 /* of el_hal.board */
#define INPUT_LIMIT 0xFFFFu /* bytes: offsets in a sample are u16 on the link */

/* Where the sections are and how much they hold. */
typedef struct el_sections {
  EL_PLAN uint8_t *plan, *slots, *tensors, *inits, *ops;
  uint32_t ops_count, meta, state_bytes, arena_bytes;
  uint16_t n_slots, n_tensors, n_inits;
  uint8_t dtype;
} el_sections;

uint32_t el_plan_state_bytes(EL_PLAN uint8_t *plan) { return el_plan32(plan + EL_HEADER_STATE_BYTES); }
uint32_t el_plan_arena_bytes(EL_PLAN uint8_t *plan) { return el_plan32(plan + EL_HEADER_ARENA_BYTES); }
uint32_t el_plan_hash(EL_PLAN uint8_t *plan) { return el_plan32(plan + el_plan32(plan + EL_HEADER_TOTAL_BYTES) - 4); }

static uint32_t crc_of(EL_PLAN uint8_t *bytes, uint32_t n) {
#ifdef EL_PLAN_IN_ROM
  uint32_t crc = 0;
  for (uint8_t byte; n; n--, crc = el_crc32(crc, &byte, 1)) byte = *bytes++;
  return crc;
#else
  return el_crc32(0, bytes, n);
#endif
}

static int check_header(EL_PLAN uint8_t *plan, uint32_t n, const char *board) {
  if (n < EL_HEADER_BYTES + 4) return EL_ERR_SIZE;
  if (el_plan32(plan + EL_HEADER_MAGIC) != EL_PLAN_MAGIC) return EL_ERR_MAGIC;
  if (plan[EL_HEADER_VERSION + 1] != EL_PLAN_VERSION >> 8) return EL_ERR_VERSION;
  if (el_plan16(plan + EL_HEADER_HEADER_BYTES) != EL_HEADER_BYTES) return EL_ERR_VERSION;
  if (el_plan32(plan + EL_HEADER_TOTAL_BYTES) != n) return EL_ERR_SIZE;
  if (crc_of(plan, n - 4) != el_plan32(plan + n - 4)) return EL_ERR_CRC;
  uint32_t want = el_plan32(plan + EL_HEADER_BOARD);
  uint32_t length = 0;
  while (board && length < EL_BOARD_BYTES && board[length]) length++;
  if (board && want && want != el_crc32(0, (const uint8_t *)board, length)) return EL_ERR_BOARD;
  return EL_OK;
}

/* Takes `count` records of `size` bytes off the front of what is left. */
static int take(EL_PLAN uint8_t **at, uint32_t *left, uint32_t count, uint32_t size, EL_PLAN uint8_t **out) {
  if (count > *left / size) return EL_ERR_SIZE;
  *out = *at;
  *at += count * size;
  *left -= count * size;
  return EL_OK;
}

static int find_sections(EL_PLAN uint8_t *plan, uint32_t n, el_sections *s) {
  EL_PLAN uint8_t *at = plan + EL_HEADER_BYTES, *skipped;
  uint32_t left = n - EL_HEADER_BYTES - 4;
  s->plan = plan;
  s->dtype = plan[EL_HEADER_DTYPE];
  s->n_slots = plan[EL_HEADER_N_SLOTS];
  s->n_tensors = plan[EL_HEADER_N_TENSORS];
  s->n_inits = plan[EL_HEADER_N_INITS];
  s->ops_count = (uint32_t)el_plan16(plan + EL_HEADER_N_INFER) + el_plan16(plan + EL_HEADER_N_LEARN);
  s->meta = el_plan32(plan + EL_HEADER_META);
  s->state_bytes = el_plan_state_bytes(plan);
  s->arena_bytes = el_plan_arena_bytes(plan);
  if (take(&at, &left, plan[EL_HEADER_N_DROPS], 4, &skipped) || take(&at, &left, s->n_slots, EL_SLOT_BYTES, &s->slots) ||
      take(&at, &left, s->n_tensors, EL_TENSOR_BYTES, &s->tensors) || take(&at, &left, s->n_inits, EL_INIT_BYTES, &s->inits) ||
      take(&at, &left, s->ops_count, EL_OP_BYTES, &s->ops))
    return EL_ERR_SIZE;
  if (left != el_plan32(plan + EL_HEADER_TLV_BYTES)) return EL_ERR_SIZE;
  return EL_OK;
}

/* Floats have no exponents: slot 0, the constant, is their only one, and their state has no room for more. */
static int check_numbers(const el_sections *s) {
  if (s->dtype != EL_PLAN_INT8 && s->dtype != EL_PLAN_F32) return EL_ERR_OPERAND;
  if (s->n_slots == 0 || (s->dtype == EL_PLAN_F32 && s->n_slots != 1)) return EL_ERR_SLOT;
  return el_plan16(s->plan + EL_HEADER_CLASSES) ? EL_OK : EL_ERR_LABEL;
}

static int check_tlvs(EL_PLAN uint8_t *plan, uint32_t n) {
  uint32_t left = el_plan32(plan + EL_HEADER_TLV_BYTES);
  EL_PLAN uint8_t *at = plan + (n - 4 - left);
  while (left >= 2) {
    if (at[0] & EL_TLV_REQUIRED) return EL_ERR_VERSION; /* none is defined yet */
    uint32_t size = (uint32_t)2 + at[1];
    if (size > left) return EL_ERR_SIZE;
    at += size;
    left -= size;
  }
  return EL_OK; /* a last odd byte is padding */
}

/* The state region ends with step, seed, and for integers statistics and exponents: edgelearn/passes/memory.py. */
static int check_regions(const el_sections *s) {
  uint32_t tail = 8 + (s->dtype == EL_PLAN_INT8 ? (uint32_t)s->n_slots * 5 : 0);
  if (s->meta % 4 || s->state_bytes < tail || s->state_bytes - tail != s->meta) return EL_ERR_SIZE;
  return s->arena_bytes > 0x7FFFFFFF || s->state_bytes > 0x7FFFFFFF ? EL_ERR_SIZE : EL_OK;
}

static EL_PLAN uint8_t *tensor(const el_sections *s, uint8_t index) { return s->tensors + (uint32_t)index * EL_TENSOR_BYTES; }

/* A plan is all float or all integer, but for labels, so that each kernel finds the exponents or immediates it expects. */
static int dtype_belongs(const el_sections *s, uint8_t dtype) {
  if (s->dtype == EL_PLAN_F32) return dtype == EL_DTYPE_F32 || dtype == EL_DTYPE_I32;
  return dtype <= EL_DTYPE_I32;
}

static int check_tensor(const el_sections *s, EL_PLAN uint8_t *t) {
  uint8_t dtype = t[EL_TENSOR_DTYPE], width = dtype == EL_DTYPE_I8 ? 1 : dtype == EL_DTYPE_I16 ? 2 : 4, region = t[EL_TENSOR_REGION];
  uint32_t rows = el_plan16(t + EL_TENSOR_ROWS), cols = el_plan16(t + EL_TENSOR_COLS), off = el_plan32(t + EL_TENSOR_OFF);
  if (!dtype_belongs(s, dtype) || region > EL_REGION_STATE || rows == 0 || cols == 0) return EL_ERR_OPERAND;
  uint32_t room = region == EL_REGION_STATE ? s->meta : s->arena_bytes;
  if (off % 4 || off > room || cols > (room - off) / width / rows) return EL_ERR_SIZE;
  if (t[EL_TENSOR_SLOT0] >= s->n_slots || t[EL_TENSOR_SLOT1] >= s->n_slots) return EL_ERR_SLOT;
  return EL_OK;
}

static int check_slot(const el_sections *s, EL_PLAN uint8_t *slot, uint16_t number) {
  int8_t start = (int8_t)slot[EL_SLOT_START];
  if ((slot[EL_SLOT_KIND] == EL_SLOT_IS_CONSTANT) != (number == 0)) return EL_ERR_SLOT;
  if (slot[EL_SLOT_KIND] > EL_SLOT_IS_COMPUTED || start > EL_EXP_LIMIT || start < -EL_EXP_LIMIT) return EL_ERR_SLOT;
  if (slot[EL_SLOT_BITS] > 15 || (number == 0 && start != 0)) return EL_ERR_SLOT;
  if (slot[EL_SLOT_KIND] != EL_SLOT_IS_WEIGHT) return EL_OK;
  if (slot[EL_SLOT_TENSOR] >= s->n_tensors) return EL_ERR_SLOT;
  EL_PLAN uint8_t *t = tensor(s, slot[EL_SLOT_TENSOR]);
  if (t[EL_TENSOR_REGION] != EL_REGION_STATE || t[EL_TENSOR_DTYPE] > EL_DTYPE_I16) return EL_ERR_SLOT;
  return slot[EL_SLOT_BITS] == 7 || (slot[EL_SLOT_BITS] > 7 && t[EL_TENSOR_DTYPE] == EL_DTYPE_I16) ? EL_OK : EL_ERR_SLOT;
}

static int check_init(const el_sections *s, EL_PLAN uint8_t *init) {
  if (init[EL_INIT_TENSOR] >= s->n_tensors || init[EL_INIT_KIND] > EL_INIT_IS_NORMAL || init[EL_INIT_SHIFT] > 40) return EL_ERR_OPERAND;
  EL_PLAN uint8_t *t = tensor(s, init[EL_INIT_TENSOR]);
  if (t[EL_TENSOR_REGION] != EL_REGION_STATE || t[EL_TENSOR_DTYPE] == EL_DTYPE_I32) return EL_ERR_OPERAND;
  if (t[EL_TENSOR_DTYPE] != EL_DTYPE_F32 && el_plan32(init + EL_INIT_SCALE) >= 1 << 13) return EL_ERR_OPERAND;
  return EL_OK;
}

/* Where an image has all kernels, the first look is often right. */
static EL_ROM el_signature *signature(uint8_t code) {
  uint8_t likely = (uint8_t)(code - 1);
  if (likely < el_signature_count && el_rom_u8(&el_signatures[likely].code) == code) return &el_signatures[likely];
  for (uint16_t i = 0; i < el_signature_count; i++)
    if (el_rom_u8(&el_signatures[i].code) == code) return &el_signatures[i];
  return 0;
}

static int check_access(uint16_t want, uint8_t region) {
  switch (want & EL_ACCESS_BITS) {
    case EL_STATE_IN:
    case EL_STATE_OUT: return region == EL_REGION_STATE ? EL_OK : EL_ERR_OPERAND;
    case EL_ANY_IN: return EL_OK;
    default: return region == EL_REGION_ARENA ? EL_OK : EL_ERR_OPERAND;
  }
}

/* Vectors count elements, so that a map may stand where one does. An operand's count must be what those before it said (0: nothing). */
static int check_shape(uint16_t want, EL_PLAN uint8_t *t, uint32_t dims[2]) {
  uint32_t n = el_tensor_elements(t), *dim = &dims[0];
  switch (want & EL_SHAPE_BITS) {
    case EL_MATRIX:
      dims[0] = el_plan16(t + EL_TENSOR_ROWS);
      dims[1] = el_plan16(t + EL_TENSOR_COLS);
      return EL_OK;
    case EL_ONE: return n == 1 ? EL_OK : EL_ERR_OPERAND;
    case EL_TIMES: return dims[1] && n % dims[1] == 0 ? EL_OK : EL_ERR_OPERAND;
    case EL_SPREAD:
      if (n == 1) return EL_OK; /* fall through */
    case EL_COLS: dim = &dims[1]; break;
    default: break;
  }
  if (*dim == 0) *dim = n;
  return *dim == n ? EL_OK : EL_ERR_OPERAND;
}

static int check_shapes(EL_ROM el_signature *sig, EL_PLAN uint8_t *const *t, uint8_t args) {
  uint32_t dims[2] = {0, 0};
  for (uint8_t i = 0; i < args; i++)
    if (check_shape(el_rom_u16(&sig->arg[i]), t[i], dims)) return EL_ERR_OPERAND;
  return EL_OK;
}

static int check_op(const el_sections *s, EL_PLAN uint8_t *op) {
  EL_ROM el_signature *sig = signature(op[EL_OP_KERNEL]);
  EL_PLAN uint8_t *operands[4];
  if (!sig) return EL_ERR_KERNEL;
  uint8_t args = el_rom_u8(&sig->args);
  if (op[EL_OP_FLAGS] >> EL_OP_ARGS_SHIFT != args) return EL_ERR_OPERAND;
  for (uint8_t i = 0; i < 4; i++) {
    uint8_t index = op[EL_OP_A0 + i];
    if (index >= s->n_tensors) return EL_ERR_OPERAND;
    if (i >= args) continue;
    EL_PLAN uint8_t *t = tensor(s, index);
    uint16_t want = el_rom_u16(&sig->arg[i]);
    if (!(want >> t[EL_TENSOR_DTYPE] & 1)) return EL_ERR_OPERAND;
    if (check_access(want, t[EL_TENSOR_REGION])) return EL_ERR_OPERAND;
    operands[i] = t;
  }
  if ((el_rom_u16(&sig->arg[0]) & EL_SHAPE_BITS) < EL_KERNEL) return check_shapes(sig, operands, args);
  return el_map_shapes ? el_map_shapes(sig, operands, op[EL_OP_ID]) : EL_ERR_KERNEL;
}

/* A sample is staged where the arena starts. */
static int check_input(EL_PLAN uint8_t *t) {
  uint32_t width = t[EL_TENSOR_DTYPE] == EL_DTYPE_I8 ? 1 : 4;
  if (el_plan32(t + EL_TENSOR_OFF) != 0) return EL_ERR_OPERAND;
  return el_tensor_elements(t) <= INPUT_LIMIT / width ? EL_OK : EL_ERR_SIZE;
}

static int check_port(const el_sections *s, uint8_t field, uint8_t dtype) {
  uint8_t index = s->plan[field];
  if (index >= s->n_tensors) return EL_ERR_OPERAND;
  EL_PLAN uint8_t *t = tensor(s, index);
  if (t[EL_TENSOR_REGION] != EL_REGION_ARENA || t[EL_TENSOR_DTYPE] != dtype) return EL_ERR_OPERAND;
  if (field == EL_HEADER_INPUT) return check_input(t);
  return el_tensor_elements(t) == 1 ? EL_OK : EL_ERR_OPERAND;
}

static int check_ports(const el_sections *s) {
  uint8_t input = s->dtype == EL_PLAN_INT8 ? EL_DTYPE_I8 : EL_DTYPE_F32;
  int code = check_port(s, EL_HEADER_INPUT, input);
  if (!code) code = check_port(s, EL_HEADER_LABEL, EL_DTYPE_I32);
  if (!code) code = check_port(s, EL_HEADER_OUTPUT, EL_DTYPE_I32);
  if (!code && s->plan[EL_HEADER_FLAGS] & EL_FLAG_GUESS) code = check_port(s, EL_HEADER_GUESS, EL_DTYPE_I32);
  return code;
}

static int check_records(const el_sections *s) {
  int code = EL_OK;
  for (uint16_t i = 0; !code && i < s->n_tensors; i++) code = check_tensor(s, tensor(s, (uint8_t)i));
  for (uint16_t i = 0; !code && i < s->n_slots; i++) code = check_slot(s, s->slots + (uint32_t)i * EL_SLOT_BYTES, i);
  for (uint16_t i = 0; !code && i < s->n_inits; i++) code = check_init(s, s->inits + (uint32_t)i * EL_INIT_BYTES);
  for (uint32_t i = 0; !code && i < s->ops_count; i++) code = check_op(s, s->ops + i * EL_OP_BYTES);
  return code;
}

int el_verify(EL_PLAN uint8_t *plan, uint32_t n, const char *board) {
  el_sections s;
  int code = check_header(plan, n, board);
  if (!code) code = find_sections(plan, n, &s);
  if (!code) code = check_tlvs(plan, n);
  if (!code) code = check_numbers(&s);
  if (!code) code = check_regions(&s);
  if (!code) code = check_records(&s);
  return code ? code : check_ports(&s);
}
