/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* TLS reads and writes, captured at return: the length is then what the library really moved, failed calls and
 * retries give nothing, and the pages are resident. */
#include "include/payload.h"

static __always_inline int enter(struct registers *regs, __u64 size, __u64 moved, __u64 write)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	if (!wanted(tgid))
		return 0;
	struct frame frame = {.stack = regs->sp, .tgid = tgid};
	struct connection connection = {.object = regs->di, .tgid = tgid};
	if (bpf_map_lookup_elem(&IGNORED, &connection)) {
		/* Were there a call that was left by a jump, this one's return would be taken for its. */
		bpf_map_delete_elem(&CALLS, &frame);
		return 0;
	}
	struct call call = {
		.object = regs->di,
		.buffer = regs->si,
		.size = size,
		.moved = moved,
		.start = leader_start((struct task_struct *)bpf_get_current_task()),
	};
	if (bpf_map_update_elem(&CALLS, &frame, &call, BPF_ANY))
		drop(DROP_CALL_MAP, 1);
	if (write)
		owe(thread, regs->di, SOURCE_TLS);
	return 0;
}

/* How a function tells what it moved: as an int; through a pointer, and as a truth; as an ssize_t. */
enum told { TOLD_INT, TOLD_POINTER, TOLD_LONG };

static __always_inline int leave(struct registers *regs, __u64 write, enum told told)
{
	struct frame frame = {.stack = regs->sp - sizeof(__u64), .tgid = bpf_get_current_pid_tgid() >> 32};
	struct call *call = bpf_map_lookup_elem(&CALLS, &frame);
	if (!call)
		return 0;
	__s64 result = told == TOLD_LONG ? (__s64)regs->ax : (__s32)regs->ax;
	__u64 total = 0;
	if (result > 0) {
		if (told != TOLD_POINTER)
			total = result;
		else if (bpf_probe_read_user(&total, sizeof(total), (void *)call->moved))
			total = 0;
		/* More than asked for is no length: nothing was moved, or this is not the function that it seemed. */
		if (total > call->size)
			total = 0;
	}
	if (!write)
		call->socket = received_from(bpf_get_current_pid_tgid());
	__u64 offset = 0;
	for (int i = 0; i < CHUNKS && offset < total; i++) {
		__u64 taken = hand_over(frame.stack, offset, total, write);
		if (!taken)
			break;
		offset += taken;
	}
	if (offset < total)
		drop(DROP_TOO_LARGE, total - offset);
	bpf_map_delete_elem(&CALLS, &frame);
	return 0;
}

SEC("uprobe/write_enter")
int write_enter(struct registers *regs)
{
	return enter(regs, (__u32)regs->dx, 0, 1);
}

SEC("uprobe/write_ex_enter")
int write_ex_enter(struct registers *regs)
{
	return enter(regs, regs->dx, regs->cx, 1);
}

SEC("uprobe/read_enter")
int read_enter(struct registers *regs)
{
	return enter(regs, (__u32)regs->dx, 0, 0);
}

SEC("uprobe/read_ex_enter")
int read_ex_enter(struct registers *regs)
{
	return enter(regs, regs->dx, regs->cx, 0);
}

/* ssl_write_internal from OpenSSL 3.2 on; returns as the _ex functions do. */
SEC("uprobe/write_flags_enter")
int write_flags_enter(struct registers *regs)
{
	return enter(regs, regs->dx, regs->r8, 1);
}

SEC("uprobe/write_size_enter")
int write_size_enter(struct registers *regs)
{
	return enter(regs, regs->dx, 0, 1);
}

SEC("uprobe/read_size_enter")
int read_size_enter(struct registers *regs)
{
	return enter(regs, regs->dx, 0, 0);
}

SEC("uretprobe/write_size_leave")
int write_size_leave(struct registers *regs)
{
	return leave(regs, 1, TOLD_LONG);
}

SEC("uretprobe/read_size_leave")
int read_size_leave(struct registers *regs)
{
	return leave(regs, 0, TOLD_LONG);
}

SEC("uretprobe/write_leave")
int write_leave(struct registers *regs)
{
	return leave(regs, 1, TOLD_INT);
}

SEC("uretprobe/write_ex_leave")
int write_ex_leave(struct registers *regs)
{
	return leave(regs, 1, TOLD_POINTER);
}

SEC("uretprobe/read_leave")
int read_leave(struct registers *regs)
{
	return leave(regs, 0, TOLD_INT);
}

SEC("uretprobe/read_ex_leave")
int read_ex_leave(struct registers *regs)
{
	return leave(regs, 0, TOLD_POINTER);
}

/* The address of a TLS object may be used again for another connection, or is. In the payload ring, so that it stays in
 * order. */
static __always_inline int gone(__u64 object)
{
	__u64 thread = bpf_get_current_pid_tgid();
	if (!wanted(thread >> 32) || !object)
		return 0;
	struct connection connection = {.object = object, .tgid = thread >> 32};
	bpf_map_delete_elem(&IGNORED, &connection);
	unpair(&connection);
	struct close_event *event = bpf_ringbuf_reserve(&PAYLOAD, sizeof(*event), 0);
	if (!event) {
		drop(DROP_PAYLOAD_RING, 1);
		return 0;
	}
	event->object = object;
	struct task_struct *task = (void *)bpf_get_current_task();
	fill_header(&event->header, EVENT_CLOSE, sizeof(*event), thread >> 32, thread, leader_start(task));
	bpf_ringbuf_submit(event, waking(sizeof(*event) + 8));
	return 0;
}

/* SSL_free */
SEC("uprobe/object_free")
int object_free(struct registers *regs)
{
	return gone(regs->di);
}

/* SSL_new, where SSL_free cannot be found: what had the address before is gone. */
SEC("uretprobe/object_new")
int object_new(struct registers *regs)
{
	return gone(regs->ax);
}
