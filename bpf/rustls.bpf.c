/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* rustls: the plaintext of one record, at the entry of `MessageEncrypter::encrypt` and at the return of
 * `MessageDecrypter::decrypt`. Both are called as f(result, self, &message, sequence).
 *
 * How the messages lie in memory is rustc's choice, the same in all builds that were looked at, and it differs between
 * versions of rustls. So nothing is believed that does not prove itself: a content type and a protocol version that
 * TLS knows, a length that TLS allows, and for a received record a place within the buffer that was to be opened. */
#include "include/payload.h"

/* Discriminants of rustls's `ContentType` and `ProtocolVersion` (src/enums.rs). */
#define APPLICATION_DATA 3
#define TLS_1_2 4
#define TLS_1_3 5

/* `MAX_FRAGMENT_LEN`, RFC 8446 5.1 */
#define FRAGMENT 16384

/* What `Result` has in its first byte for an error of `decrypt` is at most this (`Error::PeerSentOversizedRecord`). */
#define LAST_ERROR 0x11

/* What a length or a capacity is at most, and what the length of a record is at most. */
#define NO_ADDRESS (1 << 24)
#define NO_LENGTH (1 << 16)

/* In `call.socket` until the call returns: the message is a vector. */
#define VECTOR 1

/* Slices of one record that are followed. */
#define SLICES 64

/* Type and version of a message, whichever the compiler put first. */
static __always_inline int is_data(__u64 facts)
{
	__u64 type = facts & 0xff, version = facts >> 16 & 0xffff;
	if (type == APPLICATION_DATA && (version == TLS_1_2 || version == TLS_1_3))
		return 1;
	version = facts & 0xffff;
	type = facts >> 32 & 0xff;
	return type == APPLICATION_DATA && (version == TLS_1_2 || version == TLS_1_3);
}

/* A cipher that begins to count: what was at this address before is gone. */
static __always_inline void begins(__u64 thread, struct connection *connection)
{
	bpf_map_delete_elem(&IGNORED, connection);
	unpair(connection);
	struct close_event *event = bpf_ringbuf_reserve(&PAYLOAD, sizeof(*event), 0);
	if (!event) {
		drop(DROP_PAYLOAD_RING, 1);
		return;
	}
	event->object = connection->object;
	struct task_struct *task = (void *)bpf_get_current_task();
	fill_header(&event->header, EVENT_CLOSE, sizeof(*event), thread >> 32, thread, leader_start(task));
	bpf_ringbuf_submit(event, waking(sizeof(*event) + 8));
}

/* The slice of the plaintext that is described at an address: what of it lies between two places of the whole, as a call
 * of its own. Gives its length. A global function, as `hand_over`. */
__attribute__((noinline)) __u64 slice(__u64 stack, __u64 piece, __u64 start, __u64 end)
{
	struct frame frame = {.stack = stack, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct call *call = bpf_map_lookup_elem(&CALLS, &frame);
	__u64 range[2] = {};
	if (!call || bpf_probe_read_user(range, sizeof(range), (void *)piece))
		return 0;
	__u64 length = range[1];
	if (end > length)
		end = length;
	if (start >= end || end - start > FRAGMENT)
		return length;
	call->buffer = range[0] + start;
	__u64 taken = hand_over(stack, 0, end - start, 1);
	if (taken < end - start)
		drop(DROP_TOO_LARGE, end - start - taken);
	return length;
}

/* message: OutboundPlainMessage {payload: OutboundChunks, type, version} of rustls 0.23, where OutboundChunks is
 * Single {0, address, length} or Multiple {slices, count, start, end}; BorrowedPlainMessage {address, length, type,
 * version} before. */
SEC("uprobe/rustls_encrypt_enter")
int rustls_encrypt_enter(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	if (!wanted(tgid))
		return 0;
	struct connection connection = {.object = regs->si, .tgid = tgid};
	if (!regs->cx)
		begins(thread, &connection);
	__u64 message[5] = {};
	if (bpf_probe_read_user(message, sizeof(message), (void *)regs->dx))
		return 0;
	/* Where the slices are described, and which part of them is the record. */
	__u64 slices = 0, count = 1, start = 0, end = 0;
	if (!message[0]) {
		if (!is_data(message[4]))
			return 0;
		slices = regs->dx + sizeof(__u64);
		end = message[2];
	} else if (is_data(message[4]) && message[3] > message[2] && message[3] - message[2] <= FRAGMENT) {
		slices = message[0];
		count = message[1];
		start = message[2];
		end = message[3];
	} else if (is_data(message[2])) {
		slices = regs->dx;
		end = message[1];
	}
	if (end <= start || end - start > FRAGMENT)
		return 0;
	if (bpf_map_lookup_elem(&IGNORED, &connection))
		return 0;
	struct frame frame = {.stack = regs->sp, .tgid = tgid};
	struct call call = {
		.object = regs->si,
		.start = leader_start((struct task_struct *)bpf_get_current_task()),
		.source = SOURCE_RECORD,
	};
	if (bpf_map_update_elem(&CALLS, &frame, &call, BPF_ANY)) {
		drop(DROP_CALL_MAP, 1);
		return 0;
	}
	owe(thread, regs->si, SOURCE_RECORD);
	for (__u64 i = 0; i < SLICES && i < count && end; i++) {
		__u64 length = slice(frame.stack, slices + i * 2 * sizeof(__u64), start, end);
		start = start > length ? start - length : 0;
		end = end > length ? end - length : 0;
	}
	if (end)
		drop(DROP_TOO_LARGE, end - start);
	bpf_map_delete_elem(&CALLS, &frame);
	return 0;
}

/* message: InboundOpaqueMessage {address, length, type, version} of rustls 0.23; OpaqueMessage {capacity, address,
 * length, version, type} before. */
SEC("uprobe/rustls_decrypt_enter")
int rustls_decrypt_enter(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	if (!wanted(tgid))
		return 0;
	struct connection connection = {.object = regs->si, .tgid = tgid};
	if (!regs->cx)
		begins(thread, &connection);
	struct frame frame = {.stack = regs->sp, .tgid = tgid};
	__u64 message[3] = {};
	if (bpf_map_lookup_elem(&IGNORED, &connection) ||
	    bpf_probe_read_user(message, sizeof(message), (void *)regs->dx)) {
		bpf_map_delete_elem(&CALLS, &frame);
		return 0;
	}
	struct call call = {
		.object = regs->si,
		.moved = regs->di,
		.start = leader_start((struct task_struct *)bpf_get_current_task()),
		.source = SOURCE_RECORD,
	};
	/* A capacity or a length is no address, and type and version are more than the length of a record. */
	if (message[0] > NO_ADDRESS && message[1] <= NO_ADDRESS && message[2] > NO_LENGTH) {
		call.buffer = message[0];
		call.size = message[1];
	} else if (message[1] > NO_ADDRESS && message[2] <= NO_LENGTH) {
		call.buffer = message[1];
		call.size = message[2];
		call.socket = VECTOR;
	} else {
		bpf_map_delete_elem(&CALLS, &frame);
		return 0;
	}
	if (bpf_map_update_elem(&CALLS, &frame, &call, BPF_ANY))
		drop(DROP_CALL_MAP, 1);
	return 0;
}

/* result: Ok is {tag, address, length, type, version} in rustls 0.23; before it was {tag, PlainMessage} or a
 * PlainMessage {capacity, address, length, version, type} whose capacity is none for an error. */
SEC("uretprobe/rustls_decrypt_leave")
int rustls_decrypt_leave(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct frame frame = {.stack = regs->sp - sizeof(__u64), .tgid = thread >> 32};
	struct call *call = bpf_map_lookup_elem(&CALLS, &frame);
	if (!call)
		return 0;
	__u64 result[5] = {};
	__u64 address = 0, length = 0;
	if (!bpf_probe_read_user(result, sizeof(result), (void *)call->moved)) {
		/* What an error leaves in place of the rest may be an older result: the first word decides. */
		__u64 first = result[0];
		int fine = call->socket == VECTOR ? first >> 63 == 0 && first >= call->size : (first & 0xff) > LAST_ERROR;
		if (fine && is_data(result[3])) {
			address = result[1];
			length = result[2];
		} else if (call->socket == VECTOR && !first && is_data(result[4])) {
			address = result[2];
			length = result[3];
		}
		__u64 skipped = address - call->buffer;
		if (skipped > call->size || length > call->size - skipped || length > FRAGMENT)
			length = 0;
	}
	if (length) {
		call->socket = received_from(thread);
		call->buffer = address;
		__u64 taken = hand_over(frame.stack, 0, length, 0);
		if (taken < length)
			drop(DROP_TOO_LARGE, length - taken);
	}
	bpf_map_delete_elem(&CALLS, &frame);
	return 0;
}
