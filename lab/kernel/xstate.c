/* Lets Debian's user-mode Linux run on processors whose register state is larger than it knows.
 *
 * Loaded into it with LD_PRELOAD. User-mode Linux keeps 2696 bytes of a program's registers
 * (NT_X86_XSTATE: all up to AVX-512 and PKRU) and puts them back with PTRACE_SETREGSET. The
 * machine's kernel takes nothing less than its whole state (EFAULT), which on a processor with AMX
 * is 11008 bytes. So what is put back is filled up with zeros: to the registers beyond, those are
 * their initial state, and no program here gets AMX, for which it would have to ask arch_prctl.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef long (*ptrace_function)(enum __ptrace_request, ...);

static ptrace_function machine_ptrace;

/* Not on the stack, where a kernel has no such room. Only one thread of it ever traces. */
static char whole[1 << 16];
static size_t whole_size;

__attribute__((constructor)) static void find_ptrace(void)
{
	machine_ptrace = (ptrace_function)dlsym(RTLD_NEXT, "ptrace");
}

static size_t machine_size(pid_t pid)
{
	struct iovec all = { whole, sizeof(whole) };

	if (machine_ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &all))
		return 0;
	return all.iov_len;
}

static long put_filled_up(pid_t pid, struct iovec *given)
{
	struct iovec all = { whole, whole_size };

	memcpy(whole, given->iov_base, given->iov_len);
	memset(whole + given->iov_len, 0, whole_size - given->iov_len);
	return machine_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;
	va_start(rest, request);
	pid_t pid = va_arg(rest, pid_t);
	void *address = va_arg(rest, void *);
	void *data = va_arg(rest, void *);
	va_end(rest);

	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE) {
		struct iovec *given = data;

		if (whole_size == 0)
			whole_size = machine_size(pid);
		if (given->iov_len < whole_size)
			return put_filled_up(pid, given);
	}
	return machine_ptrace(request, pid, address, data);
}
