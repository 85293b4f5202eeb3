/* Preloaded into User-Mode Linux, so that it runs on CPUs with AMX. It holds 2,696 bytes of a task's extended state,
 * and Linux takes such a state only whole (xstateregs_set in arch/x86/kernel/fpu/regset.c); with AMX that is 11,008
 * bytes. What is added here is zero: a task without permission to use AMX has nothing there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static char state[1 << 16];
static struct iovec whole = {state, 0};

long ptrace(enum __ptrace_request request, ...) {
  static long (*next)(enum __ptrace_request, ...);
  va_list arguments;
  va_start(arguments, request);
  pid_t pid = va_arg(arguments, pid_t);
  void *address = va_arg(arguments, void *), *data = va_arg(arguments, void *);
  va_end(arguments);
  if (!next) next = dlsym(RTLD_NEXT, "ptrace");
  if (request != PTRACE_SETREGSET || (long)address != NT_X86_XSTATE) return next(request, pid, address, data);
  struct iovec *part = data;
  if (!whole.iov_len) {
    whole.iov_len = sizeof state;
    if (next(PTRACE_GETREGSET, pid, address, &whole)) return -1; /* this sets the length to that of the host */
    memset(state, 0, sizeof state);
  }
  if (whole.iov_len <= part->iov_len) return next(request, pid, address, part);
  memcpy(state, part->iov_base, part->iov_len);
  return next(request, pid, address, &whole);
}
