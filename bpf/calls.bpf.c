/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* System calls of watched processes, handed to the program that looks at them. Two programs for all calls: they are
 * attached and let go at once, where a tracepoint for each would take as long as all the rest of a start. What nobody asked
 * for costs one look into an array, and processes that are not watched one more. */

#define SYSCALL_NUMBERS 512

/* What is asked for, by number. */
#define ON_ENTRY 1
#define ON_RETURN 2
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, SYSCALL_NUMBERS); __type(key, __u32); __type(value, __u32); } SYSCALLS SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, SYSCALL_NUMBERS); __type(key, __u32); __type(value, __u32); } ENTRIES SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, SYSCALL_NUMBERS); __type(key, __u32); __type(value, __u32); } RETURNS SEC(".maps");

/* arch/x86/include/asm/thread_info.h: a 32-bit call, whose number means another one. */
#define TS_COMPAT 0x2

/* Whether a program is to look at a call. */
static __always_inline int asked(__u32 number, __u32 when)
{
	__u32 *bits = bpf_map_lookup_elem(&SYSCALLS, &number);
	if (!bits || !(*bits & when))
		return 0;
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	if (!watched(tgid))
		return 0;
	struct task_struct *task = (void *)bpf_get_current_task();
	return !(BPF_CORE_READ(task, thread_info.status) & TS_COMPAT);
}

SEC("raw_tp/sys_enter")
int call_entry(__u64 *ctx)
{
	__u32 number = ctx[1];
	if (ctx[1] < SYSCALL_NUMBERS && asked(number, ON_ENTRY))
		bpf_tail_call(ctx, &ENTRIES, number);
	return 0;
}

SEC("raw_tp/sys_exit")
int call_return(__u64 *ctx)
{
	__u64 number = 0;
	struct registers *registers = (void *)ctx[0];
	if (bpf_probe_read_kernel(&number, sizeof(number), &registers->orig_ax) || number >= SYSCALL_NUMBERS)
		return 0;
	if (asked(number, ON_RETURN))
		bpf_tail_call(ctx, &RETURNS, (__u32)number);
	return 0;
}
