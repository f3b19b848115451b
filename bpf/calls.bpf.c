/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* System calls of watched processes, handed to the programs that look at them. Two programs for all calls: they are
 * attached and let go at once, where a tracepoint for each would take as long as all the rest of a start. While they are
 * attached, each call of each process takes the kernel's slow way, whoever makes it: user space lets them go when nobody
 * is watched (receiver/src/probes/switch.rs). */
#include "include/common.h"

#include <asm/unistd_64.h>

#define SYSCALL_NUMBERS 512

/* What is asked for, by number; 4 and 8 are user space's own: the second row has a program, too. */
#define ON_ENTRY 1
#define ON_RETURN 2
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, SYSCALL_NUMBERS); __type(key, __u32); __type(value, __u32); } SYSCALLS SEC(".maps");

/* The programs, by number; in a second row those that come after one of the first. */
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2 * SYSCALL_NUMBERS); __type(key, __u32); __type(value, __u32); } ENTRIES SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2 * SYSCALL_NUMBERS); __type(key, __u32); __type(value, __u32); } RETURNS SEC(".maps");

/* At the end of a program whose calls (__NR_…) another one may look at, too. Does not return if there is one. */
#define AFTER(CTX, PROGRAMS, NUMBER) bpf_tail_call(CTX, PROGRAMS, SYSCALL_NUMBERS + NUMBER)

/* arch/x86/include/asm/thread_info.h: a 32-bit call, whose number means another one. */
#define TS_COMPAT 0x2

/* Whether a program is to look at calls of this number. */
static __always_inline int asked(__u32 number, __u32 when)
{
	__u32 *bits = bpf_map_lookup_elem(&SYSCALLS, &number);
	return bits && *bits & when;
}

static __always_inline int caller_is_watched(void)
{
	return watched(bpf_get_current_pid_tgid() >> 32);
}

static __always_inline int has_64_bits(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	return !(BPF_CORE_READ(task, thread_info.status) & TS_COMPAT);
}

/* The arguments of the call that returns. 0: they cannot be read. */
static __always_inline int arguments(__u64 *ctx, struct registers *registers)
{
	return bpf_probe_read_kernel(registers, sizeof(*registers), (void *)ctx[0]) == 0;
}

SEC("raw_tp/sys_enter")
int call_entry(__u64 *ctx)
{
	__u32 number = ctx[1];
	if (ctx[1] < SYSCALL_NUMBERS && asked(number, ON_ENTRY) && caller_is_watched() && has_64_bits())
		bpf_tail_call(ctx, &ENTRIES, number);
	return 0;
}

/* Here the number is not at hand: first the question that most callers fail. */
SEC("raw_tp/sys_exit")
int call_return(__u64 *ctx)
{
	__u64 number = 0;
	struct registers *registers = (void *)ctx[0];
	if (!caller_is_watched())
		return 0;
	if (bpf_probe_read_kernel(&number, sizeof(number), &registers->orig_ax) || number >= SYSCALL_NUMBERS)
		return 0;
	if (asked(number, ON_RETURN) && has_64_bits())
		bpf_tail_call(ctx, &RETURNS, (__u32)number);
	return 0;
}
