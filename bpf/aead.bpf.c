/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* AWS-LC's AEAD functions under rustls: the plaintext of one record, before it is sealed and after it was opened.
 * Everything that is encrypted in the process comes by, so what is authenticated besides must be what TLS prescribes: a
 * record's header (RFC 8446 5.2) or its pseudo-header (RFC 5246 6.2.3.3), of application data and of just this length. */
#include "include/payload.h"

/* RFC 8446 5.1, RFC 5246 6.2.1 */
#define APPLICATION_DATA_TYPE 0x17
#define RECORD_LIMIT 16384

/* Bytes that all of rustls's ciphers add. */
#define TAG 16

/* Zeros behind the content type that are looked behind. */
#define PADDING 256

/* What is authenticated with a record. */
struct authenticated {
	__u64 address;
	__u64 length;
};

/* Whether this is authenticated with a record of application data: 1 in TLS 1.2, where its plaintext has so many bytes, 2
 * in TLS 1.3, where it has so many with its content type. 0: it is something else. */
static __always_inline int protocol(struct authenticated *data, __u64 plaintext)
{
	__u8 bytes[13] = {};
	if (data->length == 13) {
		if (bpf_probe_read_user(bytes, 13, (void *)data->address))
			return 0;
		__u64 length = (__u64)bytes[11] << 8 | bytes[12];
		return bytes[8] == APPLICATION_DATA_TYPE && bytes[9] == 3 && bytes[10] == 3 && length == plaintext &&
		       plaintext <= RECORD_LIMIT;
	}
	if (data->length == 5) {
		if (bpf_probe_read_user(bytes, 5, (void *)data->address))
			return 0;
		__u64 length = (__u64)bytes[3] << 8 | bytes[4];
		int fits = bytes[0] == APPLICATION_DATA_TYPE && bytes[1] == 3 && bytes[2] == 3 && length == plaintext + TAG &&
			   plaintext <= RECORD_LIMIT + 1;
		return fits ? 2 : 0;
	}
	return 0;
}

/* The application data in the inner plaintext of TLS 1.3: what is before the content type, which is the last byte that
 * is not zero. 0: it is none. A global function, so that its loop is verified once. */
__attribute__((noinline)) __u64 inner_length(__u64 address, __u64 size)
{
	for (int i = 0; i < PADDING && size; i++) {
		__u8 type = 0;
		size--;
		if (bpf_probe_read_user(&type, 1, (void *)(address + size)))
			return 0;
		if (type)
			return type == APPLICATION_DATA_TYPE ? size : 0;
	}
	return 0;
}

/* Hands the record of this call over. */
static __always_inline void record(__u64 stack, __u64 address, __u64 size, int version, __u64 write)
{
	__u64 length = version == 2 ? inner_length(address, size) : size;
	if (!length)
		return;
	__u64 taken = hand_over(stack, 0, length, write);
	if (taken < length)
		drop(DROP_TOO_LARGE, length - taken);
}

/* A record's plaintext is `size` bytes at `address`. Takes registers by value: verifiers refuse a pointer into them. */
static __always_inline int seal(__u64 object, __u64 stack, __u64 address, __u64 size, struct authenticated *data)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	int version = protocol(data, size);
	struct connection connection = {.object = object, .tgid = tgid};
	if (!version || bpf_map_lookup_elem(&IGNORED, &connection))
		return 0;
	struct frame frame = {.stack = stack, .tgid = tgid};
	struct call call = {
		.object = object,
		.buffer = address,
		.size = size,
		.start = leader_start((struct task_struct *)bpf_get_current_task()),
		.source = SOURCE_RECORD,
	};
	if (bpf_map_update_elem(&CALLS, &frame, &call, BPF_ANY)) {
		drop(DROP_CALL_MAP, 1);
		return 0;
	}
	owe(thread, object, SOURCE_RECORD);
	record(frame.stack, address, size, version, 1);
	bpf_map_delete_elem(&CALLS, &frame);
	return 0;
}

/* int EVP_AEAD_CTX_seal(ctx, out, out_len, max_out_len, nonce, nonce_len, in, in_len, ad, ad_len): the last four are on the
 * stack, above the return address. */
SEC("uprobe/aead_seal_enter")
int aead_seal_enter(struct registers *regs)
{
	__u64 words[4] = {}, object = regs->di, stack = regs->sp;
	if (!wanted(bpf_get_current_pid_tgid() >> 32) ||
	    bpf_probe_read_user(words, sizeof(words), (void *)(stack + sizeof(__u64))))
		return 0;
	struct authenticated data = {.address = words[2], .length = words[3]};
	return seal(object, stack, words[0], words[1], &data);
}

/* int EVP_AEAD_CTX_seal_scatter(ctx, out, out_tag, out_tag_len, max_out_tag_len, nonce, nonce_len, in, in_len, extra_in,
 * extra_in_len, ad, ad_len): all but the first six are on the stack. */
SEC("uprobe/aead_scatter_enter")
int aead_scatter_enter(struct registers *regs)
{
	__u64 words[7] = {}, object = regs->di, stack = regs->sp;
	if (!wanted(bpf_get_current_pid_tgid() >> 32) ||
	    bpf_probe_read_user(words, sizeof(words), (void *)(stack + sizeof(__u64))))
		return 0;
	struct authenticated data = {.address = words[5], .length = words[6]};
	return seal(object, stack, words[1], words[2], &data);
}

/* int EVP_AEAD_CTX_open(ctx, out, out_len, max_out_len, nonce, nonce_len, in, in_len, ad, ad_len). `call.size` is the
 * plaintext's length, which the record's tells; the version waits in `call.socket`. */
SEC("uprobe/aead_open_enter")
int aead_open_enter(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	__u64 words[4] = {};
	if (!wanted(tgid))
		return 0;
	struct frame frame = {.stack = regs->sp, .tgid = tgid};
	struct connection connection = {.object = regs->di, .tgid = tgid};
	int version = 0;
	if (!bpf_probe_read_user(words, sizeof(words), (void *)(regs->sp + sizeof(__u64))) && words[1] > TAG) {
		struct authenticated data = {.address = words[2], .length = words[3]};
		version = protocol(&data, words[1] - TAG);
	}
	if (!version || bpf_map_lookup_elem(&IGNORED, &connection)) {
		bpf_map_delete_elem(&CALLS, &frame);
		return 0;
	}
	struct call call = {
		.object = regs->di,
		.buffer = regs->si,
		.size = words[1] - TAG,
		.moved = regs->dx,
		.start = leader_start((struct task_struct *)bpf_get_current_task()),
		.source = SOURCE_RECORD,
		.socket = version,
	};
	if (bpf_map_update_elem(&CALLS, &frame, &call, BPF_ANY))
		drop(DROP_CALL_MAP, 1);
	return 0;
}

SEC("uretprobe/aead_open_leave")
int aead_open_leave(struct registers *regs)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct frame frame = {.stack = regs->sp - sizeof(__u64), .tgid = thread >> 32};
	struct call *call = bpf_map_lookup_elem(&CALLS, &frame);
	if (!call)
		return 0;
	__u64 length = 0;
	int version = call->socket;
	call->socket = received_from(thread);
	if ((__u32)regs->ax == 1 && !bpf_probe_read_user(&length, sizeof(length), (void *)call->moved) &&
	    length == call->size)
		record(frame.stack, call->buffer, length, version, 0);
	bpf_map_delete_elem(&CALLS, &frame);
	return 0;
}
