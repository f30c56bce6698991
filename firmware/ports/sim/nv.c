/* Flash in a file: erased bytes read 0xFF, programming can only clear bits, pages are erased whole. */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edgelearn.h"
#include "sim.h"

#define NV_PAGE 4096u
#define NV_BYTES (512u * NV_PAGE) /* of a new file; an old one keeps its size */

static int file = -1;
static int dirty;

static int nv_write(uint32_t off, const uint8_t *bytes, uint32_t n) {
  dirty = 1;
  return pwrite(file, bytes, n, (off_t)off) == (ssize_t)n ? EL_OK : EL_ERR_NV;
}

static int hal_nv_read(void *ctx, uint32_t off, uint8_t *out, uint32_t n) {
  (void)ctx;
  return pread(file, out, n, (off_t)off) == (ssize_t)n ? EL_OK : EL_ERR_NV;
}

static int hal_nv_erase(void *ctx, uint32_t off) {
  uint8_t page[NV_PAGE];
  (void)ctx;
  memset(page, 0xFF, sizeof page);
  return nv_write(off, page, sizeof page);
}

static int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  uint8_t block[256];
  while (n) {
    uint32_t part = n < sizeof block ? n : (uint32_t)sizeof block;
    if (hal_nv_read(ctx, off, block, part)) return EL_ERR_NV;
    for (uint32_t i = 0; i < part; i++) block[i] &= bytes[i];
    if (nv_write(off, block, part)) return EL_ERR_NV;
    off += part, bytes += part, n -= part;
  }
  return EL_OK;
}

/* Once before each answer instead of after each write: durable before anybody hears of it, and a save stays quick. */
void sim_nv_sync(void) {
  if (!dirty) return;
  if (fsync(file)) sim_die("el-sim: --nv");
  dirty = 0;
}

void sim_nv_open(el_hal *hal, const char *path) {
  struct stat status;
  if (path == NULL) return;
  file = open(path, O_RDWR | O_CREAT, 0600);
  if (file < 0 || fstat(file, &status)) sim_die(path);
  for (off_t off = status.st_size; status.st_size == 0 && off < (off_t)NV_BYTES; off += NV_PAGE)
    if (hal_nv_erase(NULL, (uint32_t)off)) sim_die(path);
  hal->nv_bytes = status.st_size ? (uint32_t)status.st_size / (2 * NV_PAGE) * (2 * NV_PAGE) : NV_BYTES;
  if (hal->nv_bytes == 0) {
    errno = EINVAL; /* somebody else's file */
    sim_die(path);
  }
  hal->nv_page = NV_PAGE;
  hal->nv_read = hal_nv_read;
  hal->nv_erase = hal_nv_erase;
  hal->nv_prog = hal_nv_prog;
}
