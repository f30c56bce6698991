/* A QEMU TCG plugin (API version 1): instructions executed per symbol, written to $EDGELEARN_COUNT_OUT at exit as
 * "count symbol" lines. Debian ships no qemu-plugin.h, so the few prototypes that are needed are declared here. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef struct qemu_info qemu_info;
enum { INLINE_ADD_U64 = 0 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *counter, uint64_t add);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*f)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(plugin_id id, void (*f)(plugin_id, void *), void *user);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { MAX_SYMBOLS = 4096 };
static struct { /* the addresses of counters are compiled into the guest's code: they must not move */
  char name[64];
  uint64_t count;
} symbols[MAX_SYMBOLS];
static size_t used;

/* The last entry collects what finds no room. */
static uint64_t *counter_of(const char *name) {
  size_t i = 0;
  if (!name || !*name) name = "?";
  while (i < used && strncmp(symbols[i].name, name, sizeof symbols[i].name - 1) != 0) i++;
  if (i == MAX_SYMBOLS) return &symbols[MAX_SYMBOLS - 1].count;
  if (i == used) {
    strncpy(symbols[i].name, name, sizeof symbols[i].name - 1);
    used++;
  }
  return &symbols[i].count;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, counter_of(qemu_plugin_insn_symbol(insn)), 1);
  }
}

static void finished(plugin_id id, void *user) {
  (void)id;
  FILE *out = fopen(user, "w");
  if (!out) {
    perror(user);
    return;
  }
  for (size_t i = 0; i < used; i++) fprintf(out, "%llu %s\n", (unsigned long long)symbols[i].count, symbols[i].name);
  fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const qemu_info *info, int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  char *path = getenv("EDGELEARN_COUNT_OUT");
  if (!path) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finished, path);
  return 0;
}
