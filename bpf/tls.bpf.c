/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* TLS reads and writes, captured at return: the length is then what the library really moved, failed calls and
 * retries give nothing, and the pages are resident. */
#include "include/common.h"

/* The reader is woken whenever so many more bytes are pending; before that its poll timeout finds them. A wake-up costs 5 µs. */
#define WAKE_AT (256 << 10)
#define SMALL 512
#define MEDIUM 4096
#define LARGE 16384
#define HUGE 65536
#define GIANT (2 << 20)
/* Chunks of one call: the 2 GiB of an int, and the smaller ones at its end. */
#define CHUNKS 1064

struct call {
	__u64 object;
	__u64 buffer;
	__u64 size;  /* of the buffer: what a call moves is never more */
	__u64 moved; /* address of the size_t result of the _ex functions; 0 for the others */
	__u64 start; /* start_boottime of the process */
};

/* A call that has not returned yet, by its stack frame: TLS inside of TLS (an HTTPS proxy) nests calls in one thread,
 * and coroutines interleave them. Probes sit on a function's first instruction, so that at entry the stack pointer
 * is at the return address, and at return just above it. LRU: a thread that is killed in a call never returns. */
struct frame {
	__u64 stack;
	__u32 tgid;
	__u32 pad;
};
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, struct frame); __type(value, struct call); } CALLS SEC(".maps");

/* Connections that user space has ruled out. */
struct connection {
	__u64 object;
	__u32 tgid;
	__u32 pad;
};
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, struct connection); __type(value, __u8); } IGNORED SEC(".maps");

static __always_inline int enter(struct registers *regs, __u64 size, __u64 moved)
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
	return 0;
}

/* How to submit to the payload ring: a wake-up is dear, and the reader looks by itself every few milliseconds unless
 * it said that it sleeps. */
static __always_inline __u64 waking(__u64 added) /* with the record's own header */
{
	__u32 zero = 0;
	__u32 *asleep = bpf_map_lookup_elem(&ASLEEP, &zero);
	if (asleep && *asleep) {
		*asleep = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	/* Once every WAKE_AT bytes, not with each record beyond it: the reader may be awake already. */
	__u64 pending = bpf_ringbuf_query(&PAYLOAD, BPF_RB_AVAIL_DATA);
	return pending % WAKE_AT < added && pending >= WAKE_AT ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* Hands one chunk over, in a place of constant size because the ring wants one. */
#define CHUNK(ROOM)                                                                                                    \
	({                                                                                                             \
		__u64 taken = left < (ROOM) ? left : (ROOM);                                                           \
		struct data_event *event = bpf_ringbuf_reserve(&PAYLOAD, sizeof(struct data_event) + (ROOM), 0);       \
		if (event) {                                                                                           \
			__u64 bounded = taken;                                                                         \
			/* Verifiers up to 6.12 lose the bound above. */                                               \
			asm volatile("if %[n] <= %[max] goto +1; %[n] = %[max]" : [n] "+r"(bounded) : [max] "i"(ROOM)); \
			if (bpf_probe_read_user(event + 1, bounded, (void *)(call->buffer + offset))) {                \
				drop(DROP_FAULT, taken);                                                               \
				bpf_ringbuf_discard(event, BPF_RB_NO_WAKEUP);                                          \
			} else {                                                                                       \
				event->object = call->object;                                                          \
				event->total = total;                                                                  \
				event->offset = offset;                                                                \
				event->length = taken;                                                                 \
				event->write = write;                                                                  \
				fill_header(&event->header, EVENT_DATA, sizeof(*event) + taken, thread >> 32, thread,  \
					    call->start);                                                              \
				bpf_ringbuf_submit(event, waking(sizeof(struct data_event) + 8 + (ROOM)));                  \
			}                                                                                              \
		} else {                                                                                               \
			drop(DROP_PAYLOAD_RING, 1);                                                                    \
			drop(DROP_PAYLOAD_BYTES, taken);                                                               \
		}                                                                                                      \
		taken;                                                                                                 \
	})

/* One chunk of the call with this stack pointer. A global function, so that the verifier looks at it once and not
 * in every round of the loop; such functions take numbers only. Gives the bytes taken, 0 if there is no call. */
__attribute__((noinline)) __u64 hand_over(__u64 stack, __u64 offset, __u64 total, __u64 write)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct frame frame = {.stack = stack, .tgid = thread >> 32};
	struct call *call = bpf_map_lookup_elem(&CALLS, &frame);
	if (!call || offset >= total)
		return 0;
	__u64 left = total - offset;
	if (left <= SMALL)
		return CHUNK(SMALL);
	if (left <= MEDIUM)
		return CHUNK(MEDIUM);
	if (left < HUGE)
		return CHUNK(LARGE);
	if (left < GIANT)
		return CHUNK(HUGE);
	return CHUNK(GIANT);
}

static __always_inline int leave(struct registers *regs, __u64 write, int ex)
{
	struct frame frame = {.stack = regs->sp - sizeof(__u64), .tgid = bpf_get_current_pid_tgid() >> 32};
	struct call *call = bpf_map_lookup_elem(&CALLS, &frame);
	if (!call)
		return 0;
	__s64 result = (__s32)regs->ax;
	__u64 total = 0;
	if (result > 0) {
		if (!ex)
			total = result;
		else if (bpf_probe_read_user(&total, sizeof(total), (void *)call->moved))
			total = 0;
		/* More than asked for is no length: nothing was moved, or this is not the function that it seemed. */
		if (total > call->size)
			total = 0;
	}
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
	return enter(regs, (__u32)regs->dx, 0);
}

SEC("uprobe/write_ex_enter")
int write_ex_enter(struct registers *regs)
{
	return enter(regs, regs->dx, regs->cx);
}

SEC("uprobe/read_enter")
int read_enter(struct registers *regs)
{
	return enter(regs, (__u32)regs->dx, 0);
}

SEC("uprobe/read_ex_enter")
int read_ex_enter(struct registers *regs)
{
	return enter(regs, regs->dx, regs->cx);
}

SEC("uretprobe/write_leave")
int write_leave(struct registers *regs)
{
	return leave(regs, 1, 0);
}

SEC("uretprobe/write_ex_leave")
int write_ex_leave(struct registers *regs)
{
	return leave(regs, 1, 1);
}

SEC("uretprobe/read_leave")
int read_leave(struct registers *regs)
{
	return leave(regs, 0, 0);
}

SEC("uretprobe/read_ex_leave")
int read_ex_leave(struct registers *regs)
{
	return leave(regs, 0, 1);
}

/* SSL_free: the address may be used again for another connection. In the payload ring, so that it stays in order. */
SEC("uprobe/object_free")
int object_free(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	if (!wanted(thread >> 32) || !regs->di)
		return 0;
	struct connection connection = {.object = regs->di, .tgid = thread >> 32};
	bpf_map_delete_elem(&IGNORED, &connection);
	struct close_event *event = bpf_ringbuf_reserve(&PAYLOAD, sizeof(*event), 0);
	if (!event) {
		drop(DROP_PAYLOAD_RING, 1);
		return 0;
	}
	event->object = regs->di;
	struct task_struct *task = (void *)bpf_get_current_task();
	fill_header(&event->header, EVENT_CLOSE, sizeof(*event), thread >> 32, thread, leader_start(task));
	bpf_ringbuf_submit(event, waking(sizeof(*event) + 8));
	return 0;
}
