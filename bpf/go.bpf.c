/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Go's crypto/tls: (*Conn).Read, (*Conn).Write and (*Conn).Close. The probes are behind the stack check of each, and on
 * each `ret` of Read. There the connection or the result is in AX, a slice in BX and CX, the goroutine in R14, and the
 * stack pointer is at the return address.
 *
 * Goroutines move from thread to thread, and their stacks from place to place: what stays is the goroutine and how deep
 * in its stack a call is. TLS inside of TLS (an HTTPS proxy) makes calls nest.
 *
 * A write is taken when it begins: whoever reads the answer is another goroutine, and may have it before the writer
 * returns. A write that fails breaks its connection for good (`setErrorLocked`), so that nothing of it comes twice. */
#include "include/payload.h"

/* Begins `runtime.g`. */
struct go_stack {
	__u64 lo;
	__u64 hi;
};

/* Of a Go stack, bytes (runtime.main, maxstacksize: 1 GB). */
#define DEEPEST (1ULL << 30)

/* In `call.moved`: the buffer is on the goroutine's stack, and `call.buffer` is its distance from the stack's top. */
#define ON_STACK 1

/* The call in whose frame we are, as a key for CALLS; 0 if this is no goroutine. The highest bit is in no address of a
 * C frame. Goroutines are told apart by the 36 lower bits of their addresses: the heap is in one piece. */
static __always_inline __u64 go_frame(struct registers *regs, struct go_stack *stack)
{
	if (bpf_probe_read_user(stack, sizeof(*stack), (void *)regs->r14))
		return 0;
	if (regs->sp < stack->lo || regs->sp >= stack->hi || stack->hi - regs->sp >= DEEPEST)
		return 0;
	return 1ULL << 63 | (((stack->hi - regs->sp) >> 3 << 36) ^ regs->r14);
}

static __always_inline void hand_over_all(__u64 frame, __u64 total, __u64 write)
{
	__u64 offset = 0;
	for (int i = 0; i < CHUNKS && offset < total; i++) {
		__u64 taken = hand_over(frame, offset, total, write);
		if (!taken)
			break;
		offset += taken;
	}
	if (offset < total)
		drop(DROP_TOO_LARGE, total - offset);
}

SEC("uprobe/go_write_enter")
int go_write_enter(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	if (!wanted(tgid))
		return 0;
	struct connection connection = {.object = regs->ax, .tgid = tgid};
	struct go_stack stack = {};
	struct frame frame = {.stack = go_frame(regs, &stack), .tgid = tgid};
	__u64 total = regs->cx;
	if (!frame.stack || !total || bpf_map_lookup_elem(&IGNORED, &connection))
		return 0;
	struct call call = {
		.object = regs->ax,
		.buffer = regs->bx,
		.size = total,
		.start = leader_start((struct task_struct *)bpf_get_current_task()),
	};
	if (bpf_map_update_elem(&CALLS, &frame, &call, BPF_ANY)) {
		drop(DROP_CALL_MAP, 1);
		return 0;
	}
	owe(thread, regs->ax, SOURCE_TLS);
	hand_over_all(frame.stack, total, 1);
	bpf_map_delete_elem(&CALLS, &frame);
	return 0;
}

SEC("uprobe/go_read_enter")
int go_read_enter(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	if (!wanted(tgid))
		return 0;
	struct connection connection = {.object = regs->ax, .tgid = tgid};
	struct go_stack stack = {};
	struct frame frame = {.stack = go_frame(regs, &stack), .tgid = tgid};
	if (!frame.stack)
		return 0;
	if (bpf_map_lookup_elem(&IGNORED, &connection)) {
		/* A call that a panic ended has left its own behind. */
		bpf_map_delete_elem(&CALLS, &frame);
		return 0;
	}
	__u64 on_stack = regs->bx >= stack.lo && regs->bx < stack.hi;
	struct call call = {
		.object = regs->ax,
		.buffer = on_stack ? stack.hi - regs->bx : regs->bx,
		.size = regs->cx,
		.moved = on_stack ? ON_STACK : 0,
		.start = leader_start((struct task_struct *)bpf_get_current_task()),
	};
	if (bpf_map_update_elem(&CALLS, &frame, &call, BPF_ANY))
		drop(DROP_CALL_MAP, 1);
	/* What this thread received until now was for other goroutines; if nothing follows, this read is from a buffer. */
	struct thread *known = bpf_map_lookup_elem(&THREADS, &thread);
	if (known)
		known->received = 0;
	return 0;
}

SEC("uprobe/go_read_leave")
int go_read_leave(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct go_stack stack = {};
	struct frame frame = {.stack = go_frame(regs, &stack), .tgid = thread >> 32};
	struct call *call = frame.stack ? bpf_map_lookup_elem(&CALLS, &frame) : 0;
	if (!call)
		return 0;
	__s64 result = regs->ax;
	/* More than asked for is no length: this is not the call that it seemed. */
	if (result > 0 && (__u64)result <= call->size) {
		if (call->moved == ON_STACK)
			call->buffer = stack.hi - call->buffer;
		call->socket = received_from(thread);
		hand_over_all(frame.stack, result, 0);
	}
	bpf_map_delete_elem(&CALLS, &frame);
	return 0;
}

/* The collector may give the address to another connection. In the payload ring, so that it stays in order. */
SEC("uprobe/go_close_enter")
int go_close_enter(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct connection connection = {.object = regs->ax, .tgid = thread >> 32};
	if (!wanted(thread >> 32) || !regs->ax)
		return 0;
	bpf_map_delete_elem(&IGNORED, &connection);
	unpair(&connection);
	struct close_event *event = bpf_ringbuf_reserve(&PAYLOAD, sizeof(*event), 0);
	if (!event) {
		drop(DROP_PAYLOAD_RING, 1);
		return 0;
	}
	event->object = regs->ax;
	struct task_struct *task = (void *)bpf_get_current_task();
	fill_header(&event->header, EVENT_CLOSE, sizeof(*event), thread >> 32, thread, leader_start(task));
	bpf_ringbuf_submit(event, waking(sizeof(*event) + 8));
	return 0;
}
