/* To be preloaded: from its n-th call on, whatever would change a file below a folder fails, as on a full disk or in a
   folder that may not be written. Nothing else in the process notices. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long calls, first;
static int fault;

/* first: the call, from 1, that fails first; 0: none. Forgets what was counted. */
void no_room(const char *below, long at, int error) {
  snprintf(folder, sizeof folder, "%s", below);
  calls = 0;
  first = at;
  fault = error;
}

long no_room_calls(void) { return calls; }

static int inside(const char *path) {
  size_t n = strlen(folder);
  return n > 0 && path && strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static int refused(int concerned) {
  if (!concerned) return 0;
  calls++;
  if (first == 0 || calls < first) return 0;
  errno = fault;
  return 1;
}

static int of_file(int file) {
  char link[64], path[PATH_MAX];
  ssize_t n;
  if (folder[0] == 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  return inside(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *data, size_t n) { return refused(of_file(file)) ? -1 : REAL(write)(file, data, n); }

ssize_t pwrite(int file, const void *data, size_t n, off_t at) {
  return refused(of_file(file)) ? -1 : REAL(pwrite)(file, data, n, at);
}

ssize_t pwrite64(int file, const void *data, size_t n, off64_t at) {
  return refused(of_file(file)) ? -1 : REAL(pwrite64)(file, data, n, at);
}

int fsync(int file) { return refused(of_file(file)) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return refused(of_file(file)) ? -1 : REAL(fdatasync)(file); }
int mkdir(const char *path, mode_t mode) { return refused(inside(path)) ? -1 : REAL(mkdir)(path, mode); }
int rename(const char *from, const char *to) { return refused(inside(to)) ? -1 : REAL(rename)(from, to); }

/* A file that is there may be opened on a full disk; one that is not cannot be made. */
static int makes(const char *path, int flags) {
  struct stat found;
  return (flags & O_CREAT) && inside(path) && stat(path, &found) != 0;
}

int open(const char *path, int flags, ...) {
  mode_t mode;
  va_list rest;
  va_start(rest, flags);
  mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return refused(makes(path, flags)) ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  mode_t mode;
  va_list rest;
  va_start(rest, flags);
  mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return refused(makes(path, flags)) ? -1 : REAL(open64)(path, flags, mode);
}
