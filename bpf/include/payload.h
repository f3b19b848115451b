/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* How plaintext is handed over: calls in progress, and chunks in the payload ring. For all families that see plaintext. */
#ifndef ONLOOKER_PAYLOAD_H
#define ONLOOKER_PAYLOAD_H

#include "common.h"

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
	__u64 source; /* enum source */
	__u64 socket; /* that it was received from, if that is known */
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

/* What a thread did last, to tell through which socket a TLS object's records go. */
struct thread {
	__u64 received; /* inode of the socket it received from last; 0: none */
	__u64 owed;     /* the TLS object whose plaintext it wrote, until it sends */
	__u64 source;   /* of `owed` */
};
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, __u64); __type(value, struct thread); } THREADS SEC(".maps");

/* Plaintext was given to this object: the socket that the thread sends on next is its. */
static __always_inline void owe(__u64 thread, __u64 object, __u64 source)
{
	struct thread *known = bpf_map_lookup_elem(&THREADS, &thread);
	if (known) {
		known->owed = object;
		known->source = source;
		return;
	}
	struct thread fresh = {.owed = object, .source = source};
	bpf_map_update_elem(&THREADS, &thread, &fresh, BPF_ANY);
}

/* Which socket a TLS object's records go through, and the other way round: the object by (process, socket). */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, struct connection); __type(value, __u64); } PAIRED SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, struct connection); __type(value, __u64); } PARTNERS SEC(".maps");

/* A TLS object is gone: its address may be another one's. */
static __always_inline void unpair(struct connection *object)
{
	__u64 *socket = bpf_map_lookup_elem(&PAIRED, object);
	if (!socket)
		return;
	struct connection id = {.object = *socket, .tgid = object->tgid};
	bpf_map_delete_elem(&PARTNERS, &id);
	bpf_map_delete_elem(&PAIRED, object);
}

static __always_inline __u64 received_from(__u64 thread)
{
	struct thread *known = bpf_map_lookup_elem(&THREADS, &thread);
	return known ? known->received : 0;
}

/* How to submit to the payload ring: a wake-up is dear, and the reader looks by itself every few milliseconds unless
 * it said that it sleeps. */
static __always_inline __u64 waking(__u64 added) /* with the record's own header */
{
	if (reader_sleeps())
		return BPF_RB_FORCE_WAKEUP;
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
				event->socket = call->socket;                                                          \
				event->source = call->source;                                                          \
				event->pad = 0;                                                                        \
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

#endif
